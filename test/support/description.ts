/** The description of the API, read as a client would: what may be sent, what may be answered. */
import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';

export type Schema = { readonly [keyword: string]: unknown };
type Content = {
  readonly [type: string]: { readonly schema: Schema; readonly examples?: Record<string, { value: unknown }> };
};
type Response = { readonly headers?: Record<string, HeaderOrRef>; readonly content?: Content };
type Header = { readonly required?: boolean; readonly schema: Schema };
type HeaderOrRef = Header | { readonly $ref: string };
type RawOperation = {
  readonly operationId: string;
  readonly summary: string;
  readonly security: readonly object[];
  readonly tags: readonly string[];
  readonly requestBody?: { readonly content: Content };
  readonly responses: { readonly [status: string]: Response };
};
type Document = {
  readonly paths: { readonly [path: string]: { readonly [method: string]: RawOperation } };
  readonly components: {
    readonly schemas: { readonly [name: string]: Schema };
    readonly responses: { readonly [name: string]: Response };
    readonly headers: { readonly [name: string]: Header };
  };
};

/** A status, and the code beside it where it is a refusal. */
export type Promised = { readonly status: number; readonly code: string | null };

export type Operation = Pick<RawOperation, 'operationId' | 'summary' | 'security' | 'tags'> & {
  readonly method: string;
  readonly path: string;
  /**
   * The schema of the body, by the first media type; null without one. Schemas are identified by their place in the
   * document.
   */
  readonly body: { readonly at: string; readonly mediaType: string; readonly schema: Schema } | null;
  readonly promises: readonly Promised[];
  readonly examples: readonly { readonly schema: string; readonly value: unknown }[];
};

export type Description = {
  readonly operations: readonly Operation[];
  readonly everyRefusal: readonly Promised[];
  operation(method: string, path: string): Operation;
  /** The schema at a place, with its reference followed. */
  schema(schema: Schema): Schema;
  /** Why the value does not match the schema at that place of the document. */
  problemsWith(at: string, value: unknown): readonly unknown[];
  /** Why the answer is not one that the operation promises. */
  problemsWithAnswer(
    operation: Operation,
    answer: { status: number; headers: Headers; text: string },
  ): readonly unknown[];
};

export function readDescription(document: unknown): Description {
  const { paths, components } = document as Document;
  // The document is no schema, but holds all of them: each is referred to by its place.
  const ajv = new Ajv2020({ strict: false, allErrors: false });
  formats.default(ajv);
  ajv.addSchema({ $id: 'weir', ...(document as object) });
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, raw]) => readOperation(method, path, raw)),
  );
  const shared = Object.values(components.responses).flatMap(({ content }) => codesIn(content));

  return {
    operations,
    everyRefusal: [
      ...operations.flatMap(({ promises }) => promises.filter(({ code }) => code !== null)),
      ...shared.map((code) => ({ code, status: code === 'not_found' ? 404 : 405 })),
    ],
    operation: (method, path) => operations.find((one) => one.method === method && one.path === path)!,
    schema: followed,
    problemsWith,
    problemsWithAnswer,
  };

  function followed(schema: Schema): Schema {
    const { $ref } = schema;
    return typeof $ref === 'string' ? components.schemas[$ref.split('/').at(-1)!]! : schema;
  }

  function problemsWith(at: string, value: unknown) {
    const validate = ajv.getSchema(`weir#${at}`)!;
    return validate(value) ? [] : (validate.errors ?? []);
  }

  function problemsWithAnswer(
    { method, path }: Operation,
    { status, headers, text }: { status: number; headers: Headers; text: string },
  ) {
    const response = paths[path]![method.toLowerCase()]!.responses[String(status)];
    if (!response) return [`status ${status} is not described: ${text}`];
    const mediaType = Object.keys(response.content ?? {})[0]!;
    const at = `/paths/${escaped(path)}/${method.toLowerCase()}/responses/${status}/content/${escaped(mediaType)}/schema`;
    const type = headers.get('content-type');
    return [
      ...(type?.startsWith(mediaType) ? [] : [`answered as ${type}, described as ${mediaType}`]),
      ...problemsWith(at, mediaType === 'application/json' ? JSON.parse(text) : text),
      ...headerProblems(response, headers),
    ];
  }

  function headerProblems({ headers: described = {} }: Response, headers: Headers) {
    return Object.entries(described).flatMap(([name, header]) => {
      const { required = false, schema } =
        '$ref' in header ? components.headers[header.$ref.split('/').at(-1)!]! : header;
      const value = headers.get(name);
      if (value === null) return required ? [`no ${name}`] : [];
      const isFine = ajv.validate(schema, schema['type'] === 'integer' ? Number(value) : value);
      return isFine ? [] : [`${name}: ${value}`];
    });
  }

  function readOperation(method: string, path: string, raw: RawOperation): Operation {
    const root = `/paths/${escaped(path)}/${method}`;
    const contents = [
      { at: `${root}/requestBody/content`, content: raw.requestBody?.content ?? {} },
      ...Object.entries(raw.responses).map(([status, { content = {} }]) => ({
        at: `${root}/responses/${status}/content`,
        content,
      })),
    ];
    const [mediaType, body] = Object.entries(raw.requestBody?.content ?? {})[0] ?? [];
    return {
      ...raw,
      method: method.toUpperCase(),
      path,
      body:
        mediaType && body
          ? { at: `${root}/requestBody/content/${escaped(mediaType)}/schema`, mediaType, schema: body.schema }
          : null,
      promises: Object.entries(raw.responses).flatMap(([status, { content }]) => {
        const codes = codesIn(content);
        const isServed = codes.length === 0 || Number(status) < 400;
        return [...(isServed ? [null] : []), ...codes].map((code) => ({ status: Number(status), code }));
      }),
      examples: contents.flatMap(({ at, content }) =>
        Object.entries(content).flatMap(([type, { examples = {} }]) =>
          Object.values(examples).map(({ value }) => ({ schema: `${at}/${escaped(type)}/schema`, value })),
        ),
      ),
    };
  }
}

/** The codes that the bodies of a response may have. */
function codesIn(content: Content = {}): string[] {
  return Object.values(content).flatMap(({ schema }) => {
    const { code } = (schema['properties'] ?? {}) as { code?: { enum?: string[] } };
    return code?.enum ?? [];
  });
}

/** A name escaped for a JSON pointer within a URI. */
function escaped(name: string): string {
  return encodeURIComponent(name.replaceAll('~', '~0').replaceAll('/', '~1'));
}
