/** A route: what it does, and its description, the only source of the API's description. */
import type { Context, Handler } from 'hono';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import type { JsonSchema } from '../../event/kinds.ts';
import type { DoorRequest, Receive } from '../request/door-request.ts';
import type { Refusal, RefusalCode } from '../answers/refusals.ts';
import type { Reply } from '../answers/reply.ts';

type Described = {
  readonly method: 'GET' | 'POST';
  /** Hono's pattern, and the name of the route in metrics and logs. */
  readonly path: string;
  readonly operation: Operation;
};

/** A route of the app. */
export type AppRoute = Described & {
  readonly handler: Handler;
  /** Polled by machines every few seconds: not worth a line in the log. */
  readonly isProbe?: boolean;
};

/** A path of a front door, served outside the app. `route` names the door. */
export type DoorRoute = Described & {
  readonly route: string;
  readonly receive: Receive;
  readonly refuse: (refusal: Refusal, request: DoorRequest) => Reply;
  readonly needsAllHeaders: boolean;
  /** Whether its path is also found with a slash behind it and with empty segments. */
  readonly isFoldable: boolean;
  /** What is answered besides to a client that asks by OPTIONS what it may send. */
  readonly preflight?: (headers: IncomingHttpHeaders) => Readonly<Record<string, string>>;
};

export type Route = AppRoute | DoorRoute;

/** What a request was for. */
export type RouteKind = 'ingest' | 'read' | 'health' | 'other';

/** An answered request, for metrics and logs. */
export type Observation = {
  readonly method: string;
  /** The pattern, so that ids in paths do not become names. */
  readonly route: string;
  readonly kind: RouteKind;
  readonly status: number;
  /** Since its headers had arrived. */
  readonly elapsedMs: number;
  /** null when it was not refused as a whole. */
  readonly refused: RefusalCode | null;
};

export type ObserveRequest = (observation: Observation) => void;

/** The route name for requests without a route of their own. */
export const ANY_ROUTE = 'other';

/** How a client may identify itself; `none`: it need not. */
export type Scheme = 'bearer' | 'apiKey' | 'projectBearer' | 'none';

/** The three forms of a token in a header. */
export const TOKEN_IN_HEADER: readonly Scheme[] = ['bearer', 'apiKey', 'projectBearer'];

export type Parameter = {
  readonly in: 'query' | 'header' | 'path';
  readonly name: string;
  readonly description: string;
  readonly required?: boolean;
  readonly schema: JsonSchema;
};

/** A body in one of the media types; all of them hold the same. */
export type RequestBody = {
  readonly description: string;
  readonly required: boolean;
  readonly mediaTypes: readonly string[];
  readonly schema: JsonSchema;
  readonly example: unknown;
};

/** An answer that is no refusal. JSON by default. */
export type Answer = {
  readonly description: string;
  readonly schema: JsonSchema;
  readonly mediaType?: string;
  readonly example?: unknown;
  readonly headers?: Readonly<Record<string, { readonly description: string; readonly schema: JsonSchema }>>;
};

export type Operation = {
  readonly tag: 'Events' | 'Clients' | 'Reading' | 'Health' | 'Description';
  readonly summary: string;
  readonly description?: string;
  readonly schemes: readonly Scheme[];
  readonly parameters?: readonly Parameter[];
  readonly body?: RequestBody;
  readonly answers: { readonly [status: number]: Answer };
  /** Every refusal of the route itself; refusals before any route is reached are added to it. */
  readonly refusals: readonly RefusalCode[];
  /** Where the route's refusals have other statuses and another shape than the table's. */
  readonly ownRefusals?: {
    status?(code: RefusalCode): number;
    readonly contentType?: string;
    readonly schema: JsonSchema;
  };
  /** Schemas that this description refers to by `#/components/schemas/<name>`. */
  readonly schemas?: Readonly<Record<string, JsonSchema>>;
};

/** Node's own request and response beneath a web request. */
export const nodeOf = (c: Context) => c.env as { incoming: IncomingMessage; outgoing: ServerResponse };
