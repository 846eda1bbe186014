/** What a front door says of itself; `ingest.ts` does the rest, the same for every one. */
import type { Decoded } from '../../event/decode.ts';
import type { BodyProblem, ScannedEvents } from '../../event/envelope.ts';
import { MAX_LISTED_REJECTIONS } from '../../event/event.ts';
import type { ChosenFormat, EventFormat } from '../../event/format.ts';
import type { JsonSchema } from '../../event/kinds.ts';
import type { Refusal } from '../refusals.ts';

/** What a format may refuse about a request as a whole. */
export type DoorRefusal = 'invalid_json' | 'invalid_envelope' | 'too_many_events' | 'invalid_events';

/** The events of a body, scanned, and what the body says of itself. */
export type Opened = {
  readonly events: ScannedEvents;
  readonly token?: string | null;
  readonly idempotencyKey?: string | null;
};

/** What can be told of a request that was decoded. */
export type RequestFacts = {
  /** Makes a UUID for this request. */
  readonly newBatchId: () => string;
  /** Since the request arrived. */
  readonly elapsedMs: number;
};

/** How a body holds its events: whole, to be opened at once; or one on every line, decoded as they stream in. */
export type BodyShape =
  | {
      readonly kind: 'whole';
      open(body: Buffer): Opened | BodyProblem;
      /** Describes the body, given the schema of an event. */
      schema(event: JsonSchema): JsonSchema;
    }
  | { readonly kind: 'lines' };

export type Door = {
  readonly path: string;
  /** Stored with every event: which door it came through. */
  readonly source: string;
  /** One sentence for the description of the API. */
  readonly summary: string;
  /**
   * Who is let in without a token in a header: nobody; who has one in the body, where only tokens of Weir's own
   * shape are looked up; or everybody, when the operator opened a project to them.
   */
  readonly withoutHeader: 'nobody' | 'token in body' | 'anonymous';
  readonly body: BodyShape;
  readonly format: EventFormat | ChosenFormat;
  /** Also called when no event was accepted: the contracts differ in what they answer then. */
  answer(
    decoded: Decoded,
    facts: RequestFacts,
  ): { readonly status: 200 | 202; readonly body: object } | Refusal<'invalid_events'>;
  /** The schemas of the answers, by status. */
  readonly answers: { readonly [Status in 200 | 202]?: JsonSchema };
  /** What its format refuses about a request as a whole. */
  readonly refusals: readonly DoorRefusal[];
  /** A body whose every event is accepted: JSON, or the events of the lines. */
  readonly example: unknown;
};

const COUNT: JsonSchema = { type: 'integer', minimum: 0 };

/** The schema of a list of rejections, each naming its place under `place`. */
export const rejectionsSchema = (place: 'index' | 'line'): JsonSchema => ({
  type: 'array',
  maxItems: MAX_LISTED_REJECTIONS,
  items: {
    type: 'object',
    properties: { [place]: COUNT, reason: { type: 'string' } },
    required: [place, 'reason'],
  },
});

/** The schema of an answer object; all but the fields of `sometimes` are always there. */
export function answerSchema(
  always: Record<string, JsonSchema>,
  sometimes: Record<string, JsonSchema> = {},
): JsonSchema {
  return {
    type: 'object',
    properties: { ...always, ...sometimes },
    required: Object.keys(always),
    additionalProperties: false,
  };
}

/** The schemas of what nearly every answer counts. */
export const COUNTS = { accepted: COUNT, rejected: COUNT } as const;
export const TRUNCATED = { errors_truncated: { type: 'boolean', const: true } } as const;

/** The part of an answer that lists the rejections; empty when there are none. */
export function listed(
  { rejections, truncated }: Decoded,
  place: 'index' | 'line',
): { errors?: object[]; errors_truncated?: true } {
  if (rejections.length === 0) return {};
  const errors = rejections.map(({ index, reason }) => ({ [place]: index, reason }));
  return { errors, ...(truncated ? { errors_truncated: true } : {}) };
}

/** The refusal of a request that had events, none of which could be used. */
export function noneUsable(decoded: Decoded, place: 'index' | 'line'): Refusal<'invalid_events'> {
  const { errors = [], errors_truncated } = listed(decoded, place);
  const count = `all ${decoded.rejected} events were rejected`;
  return {
    refused: 'invalid_events',
    message: errors_truncated ? `${count}; the first are in "details"` : count,
    details: errors,
  };
}
