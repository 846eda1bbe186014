/** What any front door may refuse, whatever its format: the list, and the refusals with their own messages. */
import { TOO_MANY } from '../../event/envelope.ts';
import { TOO_MANY_FIELDS } from '../../event/form.ts';
import type { Refusal, RefusalCode } from '../answers/refusals.ts';
import type { DoorRefusal } from './doors/door.ts';

/** What any front door may answer, besides its own format's refusals. The compiler checks it. */
export const INGEST_REFUSALS = [
  'invalid_query',
  'invalid_encoding',
  'unauthorized',
  'forbidden',
  'body_too_large',
  'unsupported_encoding',
  'idempotency_mismatch',
  'rate_limited',
  'internal',
  'ingest_disabled',
  'ingest_elsewhere',
  'shutting_down',
  'ingest_down',
  'not_replicated',
  'channel_full',
] as const satisfies readonly RefusalCode[];
export type IngestRefusal = Refusal<(typeof INGEST_REFUSALS)[number] | DoorRefusal>;

export const OFFER_REFUSALS: Record<'full' | 'over-share' | 'never-fits' | 'closed', IngestRefusal> = {
  full: { refused: 'channel_full' },
  'over-share': { refused: 'rate_limited' },
  'never-fits': {
    refused: 'body_too_large',
    message: TOO_MANY,
  },
  closed: { refused: 'shutting_down' },
};

export const JOURNAL_REFUSALS: Record<'full' | 'failed', IngestRefusal> = {
  full: { refused: 'channel_full', message: 'the journal is full at the moment' },
  failed: { refused: 'ingest_down', message: 'events cannot be written to disk at the moment' },
};

/** What found no place when it had been read. */
export const UNACCEPTED = {
  ...OFFER_REFUSALS,
  'journal-full': JOURNAL_REFUSALS.full,
  'not-journaled': JOURNAL_REFUSALS.failed,
} as const;

/** They stay in memory and are appended all the same once brokers answer, unless this process ends first. */
export const NOT_REPLICATED: IngestRefusal = { refused: 'not_replicated' };

export const KEY_UNAVAILABLE: IngestRefusal = {
  refused: 'ingest_down',
  retryAfterS: 1,
  message: 'cannot tell at the moment whether this idempotency key was used before',
};

export const TOO_MANY_PARAMETERS: IngestRefusal = { refused: 'invalid_query', message: TOO_MANY_FIELDS };

export const NO_TOKEN_FOUND: IngestRefusal = {
  refused: 'unauthorized',
  challenge: 'invalid_request',
  message:
    'no token: send Authorization: Bearer <token>, X-Api-Key, or "token" as the first or last member of the body',
};
