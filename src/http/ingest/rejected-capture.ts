/** Copies the rejected events of a request, without tokens, for the operator who wants them kept. */
import { type AnyFormat } from '../../event/format.ts';
import { kindOfReason } from '../../event/rejection-kind.ts';
import { MAX_EVENT_BYTES } from '../../event/json-tape.ts';
import { type Path, unstoredPathsOf } from '../../event/lenient-format.ts';
import { type TokensToMask, withoutTokens } from '../../event/masked-tokens.ts';
import type { CapturedRejections } from '../../pipeline/rejected-keeper.ts';
import type { RejectedEvent, RejectedFacts } from '../../pipeline/rejected-port.ts';
import type { Door } from './doors/door.ts';

/** What a request is known by. */
export type CapturedRequest = Pick<RejectedEvent, 'projectId' | 'path' | 'receivedAt'> & {
  readonly door: Pick<Door, 'source' | 'format' | 'sentTokens' | 'isForPages'>;
  /** The token that admitted it; null for none. */
  readonly token: () => string | null;
  readonly facts: RejectedFacts;
};

type CaptureDeps = {
  readonly newId: () => string;
  /** Whether another event would find room: otherwise none is copied. */
  readonly hasRoom: () => boolean;
};

export type RejectedCapture = {
  /** `read`: gives the event as byte text, null where it is too large; called at once, or not at all. */
  take(index: number, reason: string, read: () => string | null): void;
  captured(): CapturedRejections;
};

/** Of one request; one event may exceed it. Also bounds what is looked at and turns out to be too large. */
const MAX_EVENTS = 1_000;
const MAX_BYTES = 4 * 1024 * 1024;

export function createCapture(request: CapturedRequest, { newId, hasRoom }: CaptureDeps): RejectedCapture {
  const { door, projectId, path, receivedAt, facts } = request;
  let tokens: TokensToMask | null = null;
  const events: RejectedEvent[] = [];
  let looked = 0;
  let tooLarge = 0;
  let surplus = 0;

  return { take, captured: () => ({ events, tooLarge, surplus }) };

  function take(index: number, reason: string, read: () => string | null): void {
    if (events.length === MAX_EVENTS || looked >= MAX_BYTES || !hasRoom()) {
      surplus += 1;
      return;
    }
    const raw = read();
    looked += raw?.length ?? MAX_EVENT_BYTES;
    if (raw === null || raw.length > MAX_EVENT_BYTES) {
      tooLarge += 1;
      return;
    }
    tokens ??= tokensOf(request);
    // A copy: a part of the body's text would keep all of it.
    const bytes = Buffer.from(withoutTokens(raw, tokens), 'latin1');
    const kind = kindOfReason(reason);
    events.push({ id: newId(), projectId, door: door.source, path, kind, reason, bytes, index, receivedAt, facts });
  }
}

function tokensOf({ door, token }: CapturedRequest): TokensToMask {
  const { format, sentTokens = tokenPathsOf(format), isForPages = false } = door;
  return { paths: sentTokens, token: token(), isSiteId: isForPages };
}

/** Where events of the format have a token. */
export function tokenPathsOf(format: AnyFormat): readonly Path[] {
  return 'lenient' in format ? [...new Set(unstoredPathsOf(format))] : [];
}
