/** How bodies of the clients of others are opened: whatever wraps them, in whatever shape their events come. */
import { type BodyProblem, isBodyProblem } from '../../../event/envelope.ts';
import type { Path } from '../../../event/lenient-format.ts';
import { readLenientInstant } from '../../../event/lenient-instant.ts';
import { readOtherId } from '../../../event/event-id.ts';
import { stringOf } from '../../../event/raw-json.ts';
import { createEventWalk } from '../../../event/raw-event.ts';
import { type RawMembers, rewriteEvents } from '../../../event/rewriting.ts';
import { formIn, readSdkBody, type SdkBody, unwrapField } from '../../../event/sdk-body.ts';
import type { Steps } from '../../../event/steps.ts';
import { firstTokenIn } from '../../../event/token-in-events.ts';
import type { EventLimits, Opened, RequestHead } from './door.ts';

/** Of a family: a constant, as its list of paths in events is what a reader is made for. */
export type SdkOpening = {
  /** The members of an envelope of which one lists the events; none where there is no envelope. */
  readonly lists: readonly string[];
  /** Whether events may follow each other without a list. */
  readonly mayFollow?: boolean;
  /** Where a token may stand: in the envelope, and then in events. */
  readonly tokens?: { readonly inEnvelope?: readonly string[]; readonly inEvent?: readonly Path[] };
  /** The member of the envelope that says when it was sent. */
  readonly sentAt?: string;
};

/** What a body is besides its events: for families that look at it themselves. */
export type OpenedSdk = Opened & SdkBody;

export function* openSdk(
  body: Buffer,
  head: RequestHead,
  opening: SdkOpening,
  { maxEvents }: EventLimits = {},
): Steps<OpenedSdk | BodyProblem> {
  const { lists, mayFollow = false, tokens: { inEnvelope = [], inEvent = [] } = {}, sentAt } = opening;
  const form = head.method === 'GET' ? null : formIn(body);
  if (form && isBodyProblem(form)) return form;
  const json = form === null ? unwrapped(body, head) : unwrapField(form.get('data') ?? '');
  const read = yield* readSdkBody(json, { lists, mayFollow }, maxEvents);
  if (isBodyProblem(read)) return read;
  const { events, envelope, isByLine } = read;
  form?.delete('data');
  return {
    ...read,
    ...(form && { parameters: form }),
    ...(isByLine && { sent: createEventWalk(events, { isByLine }) }),
    *token() {
      const common = firstText(envelope, inEnvelope);
      return common ?? (inEvent.length === 0 ? null : yield* firstTokenIn(events, inEvent));
    },
    sentAt: sentAt === undefined ? null : instantIn(envelope, sentAt),
  };
}

/** How events are made flat, and where a token stands before. A constant: by its paths a reader is made once. */
export type Rewriting = {
  readonly rewrite: (event: RawMembers) => RawMembers;
  readonly tokens: readonly Path[];
  /** The token in the text there; absent: all of it. */
  readonly tokenOf?: (text: string) => string;
};

/** Events without an envelope, each made flat once it is known whose they are. */
export function* openRewritten(
  body: Buffer,
  head: RequestHead,
  { rewrite, tokens, tokenOf }: Rewriting,
  limits: EventLimits,
): Steps<Opened | BodyProblem> {
  const opened = yield* openSdk(body, head, { lists: [] }, limits);
  if (isBodyProblem(opened)) return opened;
  const { events } = opened;
  return {
    events,
    flatten: () => rewriteEvents(events, rewrite),
    token: () => firstTokenIn(events, tokens, tokenOf),
    sent: createEventWalk(events),
  };
}

/** The bytes of the JSON: those of the body, or of a `GET` those of the parameter `data`. */
function unwrapped(body: Buffer, { method, query }: RequestHead): Buffer {
  return method === 'GET' ? unwrapField(query().get('data') ?? '') : body;
}

/** The first of these members of an envelope that is a text or a number. */
export function firstText(envelope: SdkBody['envelope'], names: readonly string[]): string | null {
  for (const name of names) {
    const id = readOtherId(envelope.get(name) ?? 'null');
    if (id !== null) return stringOf(id);
  }
  return null;
}

/** The instant under that name, in epoch milliseconds; null where there is none that can be read. */
export function instantIn(envelope: SdkBody['envelope'], name: string): number | null {
  return readLenientInstant(envelope.get(name) ?? 'null');
}
