/** What reading the events of a request takes, however its body comes: their decoder, and what is kept of bad ones. */
import type { AsSent, DecodeEvent } from '../../event/decoding.ts';
import type { Credential } from '../../pipeline/ports.ts';
import type { RejectedKeeper } from '../../pipeline/rejected-keeper.ts';
import type { Arrival, Voice } from './arrival.ts';
import type { ClientFacts } from './client-facts.ts';
import type { DoorCredentials } from './door-credentials.ts';
import type { Door } from './doors/door.ts';
import { createCapture, type RejectedCapture } from './rejected-capture.ts';

export type EventReading = {
  decodeEventOf(
    voice: Voice,
    credential: Credential,
    receivedAt: number,
    skewMs: number,
    asSent: AsSent | null,
  ): DecodeEvent;
  /** Null where nothing is kept of what is rejected. */
  captureOf(
    arrival: Arrival,
    credential: Credential,
    sent: { readonly token: string | null; readonly sentAt: number | null; readonly client: ClientFacts },
  ): RejectedCapture | null;
};

export type EventReadingDeps = {
  readonly credentials: Pick<DoorCredentials, 'deciding'>;
  readonly newEventId: () => string;
  /** Absent or null where none are kept. */
  readonly keeper?: Pick<RejectedKeeper, 'hasRoom'> | null;
};

/** `door`: the one at the path of the requests. */
export function createEventReading(
  door: Door,
  { credentials, newEventId, keeper }: EventReadingDeps,
  { maxFutureMs }: { maxFutureMs: number },
): EventReading {
  return {
    decodeEventOf({ door: { source }, decoder }, { projectId, retentionSeconds }, receivedAt, skewMs, asSent) {
      const context = { projectId, retentionSeconds, receivedAt, source, maxFutureMs, newEventId, skewMs };
      return decoder(asSent === null ? context : { ...context, asSent });
    },
    captureOf({ voice, head, receivedAt }, { projectId }, { token, sentAt, client: { ip, userAgent } }) {
      if (!keeper) return null;
      const path = voice.door === door ? head.path : voice.door.paths[0];
      const facts = { sentAt, ip, userAgent };
      return createCapture(
        { door: voice.door, projectId, path, receivedAt, facts, token: () => credentials.deciding(head, token) },
        { newId: newEventId, hasRoom: keeper.hasRoom },
      );
    },
  };
}
