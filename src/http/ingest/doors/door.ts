/**
 * A front door's own part; `ingest.ts` does the rest, the same for every one. A family of doors is a file that exports
 * several, each beginning with a shared object.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { Decoded } from '../../../event/decode.ts';
import type { BodyProblem, ScannedEvents } from '../../../event/envelope.ts';
import type { AnyFormat } from '../../../event/format.ts';
import type { JsonSchema } from '../../../event/kinds.ts';
import type { Path } from '../../../event/lenient-format.ts';
import type { Steps } from '../../../event/steps.ts';
import type { Refusal, RefusalCode } from '../../answers/refusals.ts';

/** The names under which shippers and clients send an event's id, in order of precedence. */
export const EVENT_IDS = ['event_id', 'eventId', 'messageId', 'message_id', 'uuid', 'id'] as const;

/** What a format may refuse about a request as a whole. */
export type DoorRefusal = 'invalid_json' | 'invalid_envelope' | 'too_many_events' | 'invalid_events';

/** The events of a body, scanned, and the body's facts. */
export type Opened = {
  readonly events: ScannedEvents;
  /** As a function: only looked for where no header has one. */
  readonly token?: string | null | (() => Steps<string | null>);
  readonly idempotencyKey?: string | null;
  /** When the request was sent by the sender's clock, in epoch milliseconds. */
  readonly sentAt?: number | null;
  /** The part of the body that is the same when it is sent again; absent: all of it. */
  readonly repeated?: readonly Buffer[];
  /** What kind of events the request says they are. */
  readonly hint?: string | null;
  /** What a form says besides its events: it counts like the parameters of the target. */
  readonly parameters?: URLSearchParams;
  /**
   * Makes of `events` as many that the format reads, where it does not read those themselves: only asked for when their
   * sender is known.
   */
  readonly flatten?: () => Steps<ScannedEvents | BodyProblem>;
  /** Whose request it has turned out to be, where clients of several families share a path. */
  readonly speaksAs?: Door;
  /**
   * Where the events alone do not tell: one of them as it was sent, raw, with what its request says of it; null where
   * that is not known. Asked in ascending order.
   */
  readonly sent?: (index: number) => string | null;
};

/** The events of a body as its format reads them. */
export function* flatEvents({ events, flatten }: Opened): Steps<ScannedEvents | BodyProblem> {
  return flatten ? yield* flatten() : events;
}

/** What a request shows before its body. */
export type RequestHead = {
  readonly method: 'POST' | 'GET';
  /** Which of the door's `paths`, whatever its spelling was. */
  readonly path: string;
  /** As it was sent. */
  readonly target: string;
  /** By their names in lower case: complete only where the door `needsAllHeaders`. */
  readonly headers: IncomingHttpHeaders;
  /** The parameters of the target. */
  readonly query: () => URLSearchParams;
};

/** How a door refuses where a client does not understand the common error shape. `Retry-After` stays. */
export type OwnRefusals = {
  /** Absent: as in the table. Without a head it is that of the door's first path. */
  status?(code: RefusalCode, head?: RequestHead): number;
  body(
    refusal: { readonly code: RefusalCode; readonly status: number; readonly message: string },
    head: RequestHead,
  ): object | string | Buffer;
  readonly contentType?: string | ((head: RequestHead) => string);
  readonly schema: JsonSchema;
};

/** What is known of a decoded request. */
export type RequestFacts = {
  readonly head: RequestHead;
  /** What its body had, as it was opened. */
  readonly bodyBytes: number;
  readonly receivedAt: number;
  /** Generates a UUID for this request. */
  readonly newBatchId: () => string;
  /** In epoch milliseconds. */
  readonly now: () => number;
};

/**
 * A place where clients of others have their token, asked in the order of the door's list; the first that has a text
 * decides. Those in front of `body` are asked before the body is read, so that a bad one costs no body.
 */
export type TokenPlace = ((head: RequestHead) => string | null) | 'body';

/** What is answered when nothing was refused as a whole. */
export type DoorAnswer = {
  readonly status: 200 | 202 | 204 | 400;
  /** A text or bytes are sent as they are. */
  readonly body: object | string | Buffer;
  /** Absent: the door's. */
  readonly contentType?: string;
};

/** Absent: any number. */
export type EventLimits = { readonly maxEvents?: number };

/** How a body holds its events: whole, to be opened at once; or one per line, decoded as they stream in. */
export type BodyShape =
  | {
      readonly kind: 'whole';
      /** With more than `maxEvents` the body need not be read to its end. */
      open(body: Buffer, limits: EventLimits, head: RequestHead): Steps<Opened | BodyProblem>;
      /** Whether a body that begins like gzip is unpacked although no header announces it. */
      readonly sniffsGzip?: boolean;
      /** Whether the body need not be text, and other bytes in it may look compressed. Absent: never. */
      takesAnyBytes?(head: RequestHead): boolean;
      /**
       * The token in the body, found at a fraction of the cost of opening it; null where it has none in a usual place.
       */
      findToken?(body: Buffer): string | null;
      /** Describes the body, given the schema of an event. */
      schema(event: JsonSchema): JsonSchema;
    }
  | { readonly kind: 'lines' };

export type Door = {
  /** The first names the door in metrics and logs. */
  readonly paths: readonly [string, ...string[]];
  /** Absent: `POST`. */
  readonly methods?: readonly ('POST' | 'GET')[];
  /** Stored with every event: the door it came through. */
  readonly source: string;
  /** One sentence for the description of the API. */
  readonly summary: string;
  /**
   * Who is admitted without a token in a header: nobody; a client with one in the body, where only tokens of Weir's own
   * shape are looked up, or any; or everybody, when the operator opened a project to them. Absent: nobody.
   */
  readonly withoutHeader?: 'nobody' | 'token in body' | 'any token in body' | 'anonymous';
  /**
   * Another place of a token in headers or query, checked before `Authorization` and `X-Api-Key`; null for none there.
   */
  readonly tokenIn?: (head: RequestHead) => string | null;
  /**
   * For clients that exist already: all places of a token, instead of the two above and the usual headers. Such a door
   * also takes its paths with a slash behind them and with empty segments, knows no `ack`, `wait` and `Idempotency-Key`,
   * takes any body whoever sends it, and says in `Weir-Rejected` how many events it did not take.
   */
  readonly tokens?: readonly TokenPlace[];
  /**
   * Absent: the headers that `plain-head.ts` names suffice. With all headers requests are read by Node's HTTP server,
   * at twice the cost.
   */
  readonly needsAllHeaders?: boolean;
  /** Whether only pages send to it, even if they do not say from which origin. */
  readonly isForPages?: boolean;
  /** What it answers besides to a client that asks by OPTIONS what it may send. */
  readonly preflight?: (headers: IncomingHttpHeaders) => Readonly<Record<string, string>>;
  /** Whether a request is for a service that has the same path: it is answered as if there were none. */
  readonly declines?: (head: RequestHead) => boolean;
  readonly body: BodyShape;
  readonly format: AnyFormat;
  /** A body with nothing but one event, as it was sent; both are raw. Absent: a list of one. */
  readonly bodyAround?: (event: string) => string;
  /** Where an event has a token when it is sent; absent: where its format says. */
  readonly sentTokens?: readonly Path[];
  /** Whether its answers list every rejection, for clients that take the others for accepted. Absent: the first ones. */
  readonly listsAllRejections?: boolean;
  /** Also called when no event was accepted: the contracts differ in what they answer then. A text is sent as it is. */
  answer(decoded: Decoded, facts: RequestFacts): DoorAnswer | Refusal<'invalid_events'>;
  /** The media type of its answers, refusals apart; absent: JSON. */
  readonly contentType?: string;
  readonly ownRefusals?: OwnRefusals;
  /** The schemas of the answers, by status. */
  readonly answers: { readonly [Status in DoorAnswer['status']]?: JsonSchema };
  /** What its format refuses about a request as a whole. */
  readonly refusals: readonly DoorRefusal[];
  /** A body whose every event is accepted: JSON, or the events of the lines. */
  readonly example: unknown;
};

/** The body around an event where it is a list in an envelope. */
export const inEvents = (event: string): string => `{"events":[${event}]}`;

/** Where an event already is the whole body. */
export const asItIs = (event: string): string => event;

/** The part of an answer that lists the rejections; empty when there are none. */
export function listed(
  { rejections, truncated }: Decoded,
  place: 'index' | 'line',
): { errors?: object[]; errors_truncated?: true } {
  if (rejections.length === 0) return {};
  const errors = rejections.map(({ index, reason }) => ({ [place]: index, reason }));
  return { errors, ...(truncated ? { errors_truncated: true } : {}) };
}

/** The refusal of a request none of whose events was usable. */
export function noneUsable(decoded: Decoded, place: 'index' | 'line'): Refusal<'invalid_events'> {
  const { errors = [], errors_truncated } = listed(decoded, place);
  const count = `all ${decoded.rejected} events were rejected`;
  return {
    refused: 'invalid_events',
    message: errors_truncated ? `${count}; the first are in "details"` : count,
    details: errors,
  };
}
