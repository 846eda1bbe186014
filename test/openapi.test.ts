import { Validator } from '@seriousme/openapi-schema-validator';
import { describe, expect, test } from 'vitest';
import { routesOf } from '../src/http/app.ts';
import { openApiOf } from '../src/http/description/openapi.ts';
import { REFUSAL_CODES, rowOf } from '../src/http/answers/refusals.ts';
import { readDescription } from './support/description.ts';

/** Nothing is asked of the parts: only what the routes say of themselves. */
const nothing = new Proxy({}, { get: () => () => nothing }) as never;
const deps = {
  ingest: nothing,
  health: nothing,
  metricsText: nothing,
  countEvents: nothing,
  query: nothing,
  newRequestId: nothing,
  onRequest: nothing,
  log: nothing,
};
const options = {
  ingest: { maxBodyBytes: 1, maxFutureMs: 0, defaultAck: 'queued' },
  query: { maxExecutionS: 1, maxRows: 1, maxResultBytes: 1, maxAtOnce: 1 },
  allowedOrigins: [],
  depth503Threshold: 0,
  metricsToken: null,
} as const;

const routes = routesOf(deps, options);
const text = JSON.stringify(openApiOf(routes, { version: '1.2.3' }));
const description = readDescription(JSON.parse(text));

test('is a valid OpenAPI 3.1 document of this version of Weir', async () => {
  expect(await new Validator().validate(JSON.parse(text))).toEqual({ valid: true });
  expect(JSON.parse(text)).toMatchObject({ openapi: '3.1.0', info: { version: '1.2.3' } });
});

test('has every route of the app, and no other', () => {
  const served = routes.map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, '{$1}')}`);
  expect(description.operations.map(({ method, path }) => `${method} ${path}`).sort()).toEqual(served.sort());
  expect(served.length).toBeGreaterThan(10);
});

test('has every refusal of the table, with its status', () => {
  // Families of doors for clients of others may have another one beside it.
  const statuses = Map.groupBy(description.everyRefusal, ({ code }) => code);
  for (const code of REFUSAL_CODES) {
    expect(
      statuses.get(code)?.map(({ status }) => status),
      code,
    ).toContain(rowOf(code).status);
  }
});

describe.each(description.operations)('$method $path', (operation) => {
  test('has a name and a sentence of its own', () => {
    expect(operation.operationId).toMatch(/^[a-z][A-Za-z0-9]+$/);
    expect(operation.summary).toMatch(/^[A-Z].+\.$/);
    expect(description.operations.filter(({ operationId }) => operationId === operation.operationId)).toHaveLength(1);
  });

  test('gives examples that are what it says', () => {
    for (const { schema, value } of operation.examples) expect(description.problemsWith(schema, value)).toEqual([]);
  });
});

test('a schema that nothing could satisfy would be noticed', () => {
  expect(description.problemsWith('/components/schemas/NativeEvent', { event: 1 })).not.toEqual([]);
});
