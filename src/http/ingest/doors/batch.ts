/**
 * The path that Amplitude's and PostHog's clients share: the body decides whose it is, and until then the spelling of
 * the path.
 */
import { amplitudeDoor, amplitudeRefusals, AMPLITUDE_OPENING } from './amplitude.ts';
import type { Door, OwnRefusals, RequestHead } from './door.ts';
import { POSTHOG_OPENING, POSTHOG_TOKENS, posthogDoor, sentByPosthog } from './posthog.ts';
import { SDK_REFUSALS, sdkRefusals } from './sdk-answers.ts';
import { instantIn, openSdk } from './sdk-opening.ts';

const posthogRefusals = sdkRefusals();

/** PostHog appends a slash. */
const isOfPosthog = (head: RequestHead | undefined): boolean => head !== undefined && /\/(?:\?|$)/.test(head.target);

const refusalsFor = (head: RequestHead | undefined): OwnRefusals =>
  isOfPosthog(head) ? posthogRefusals : amplitudeRefusals;

export const batchDoor: Door = {
  paths: ['/batch'],
  source: 'batch',
  summary: 'Take batches of clients of Amplitude, which have `events`, and of PostHog.',
  tokens: POSTHOG_TOKENS,
  format: posthogDoor.format,
  body: {
    kind: 'whole',
    sniffsGzip: true,
    *open(body, limits, head) {
      const lists = [...AMPLITUDE_OPENING.lists, ...POSTHOG_OPENING.lists];
      const opened = yield* openSdk(body, head, { ...POSTHOG_OPENING, lists }, limits);
      if ('code' in opened) return opened;
      if (opened.list !== 'events') return { ...sentByPosthog(opened, head), speaksAs: posthogDoor };
      return { ...opened, sentAt: instantIn(opened.envelope, AMPLITUDE_OPENING.sentAt), speaksAs: amplitudeDoor };
    },
    schema: () => ({
      anyOf: [
        { type: 'object', properties: { events: { type: 'array' } } },
        { type: 'object', properties: { batch: { type: 'array' } } },
        { type: 'array' },
      ],
    }),
  },
  answer: posthogDoor.answer,
  answers: {
    200: { anyOf: [amplitudeDoor.answers[200]!, posthogDoor.answers[200]!] },
    400: { anyOf: [amplitudeDoor.answers[400]!, posthogDoor.answers[400]!] },
  },
  ownRefusals: {
    status: (code, head) => refusalsFor(head).status!(code, head),
    body: (refusal, head) => refusalsFor(head).body(refusal, head),
    schema: { anyOf: [amplitudeRefusals.schema, posthogRefusals.schema] },
  },
  refusals: SDK_REFUSALS,
  example: amplitudeDoor.example,
};
