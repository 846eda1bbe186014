/** A route: what it does, and what it says of itself. The description of the API is made of nothing else. */
import type { Context, Handler } from 'hono';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { JsonSchema } from '../event/kinds.ts';
import type { Receive } from './doorway.ts';
import type { RefusalCode } from './refusals.ts';

type Described = {
  readonly method: 'GET' | 'POST';
  /** Hono's pattern, and the name of the route in metrics and logs. */
  readonly path: string;
  readonly operation: Operation;
};

/** A route of the app. */
export type AppRoute = Described & {
  readonly handler: Handler;
  /** Asked every few seconds by machines: not worth a line in the log. */
  readonly isProbe?: boolean;
};

/** A front door, beneath the app. */
export type DoorRoute = Described & { readonly method: 'POST'; readonly receive: Receive };

export type Route = AppRoute | DoorRoute;

/** Hears of every request that was answered. `route` is the pattern, so that ids in paths do not become names. */
export type ObserveRequest = (method: string, route: string, status: number) => void;

/** What requests are observed under that have no route of their own. */
export const ANY_ROUTE = 'other';

/** How somebody may say who they are; `nobody`: they need not. */
export type Scheme = 'bearer' | 'apiKey' | 'projectBearer' | 'nobody';

/** The three forms of a token in a header. */
export const TOKEN_IN_HEADER: readonly Scheme[] = ['bearer', 'apiKey', 'projectBearer'];

export type Parameter = {
  readonly in: 'query' | 'header' | 'path';
  readonly name: string;
  readonly description: string;
  readonly required?: boolean;
  readonly schema: JsonSchema;
};

/** A body in one of the media types, all of which hold the same. */
export type RequestBody = {
  readonly description: string;
  readonly required: boolean;
  readonly mediaTypes: readonly string[];
  readonly schema: JsonSchema;
  readonly example: unknown;
};

/** An answer that is no refusal. JSON, unless it says otherwise. */
export type Answer = {
  readonly description: string;
  readonly schema: JsonSchema;
  readonly mediaType?: string;
  readonly example?: unknown;
  readonly headers?: Readonly<Record<string, { readonly description: string; readonly schema: JsonSchema }>>;
};

export type Operation = {
  readonly tag: 'Events' | 'Reading' | 'Health' | 'Description';
  readonly summary: string;
  readonly description?: string;
  readonly schemes: readonly Scheme[];
  readonly parameters?: readonly Parameter[];
  readonly body?: RequestBody;
  readonly answers: { readonly [status: number]: Answer };
  /** Every refusal of the route's own; what may be refused before any route is reached is added to it. */
  readonly refusals: readonly RefusalCode[];
  /** Schemas that this description refers to by `#/components/schemas/<name>`. */
  readonly schemas?: Readonly<Record<string, JsonSchema>>;
};

/** Node's own request and response beneath a web request. */
export const nodeOf = (c: Context) => c.env as { incoming: IncomingMessage; outgoing: ServerResponse };
