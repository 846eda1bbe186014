/** A request that has come in, and what is learnt of it on its way to its events. */
import { decoderOf } from '../../event/decoder.ts';
import type { Decoder } from '../../event/decoding.ts';
import type { Credential } from '../../pipeline/ports.ts';
import type { RequestContext } from './acceptance.ts';
import { type Refuse, refuserOf } from './door-refusals.ts';
import type { Door, RequestHead } from './doors/door.ts';

/** How the door speaks whose request it is: the one at the path, or another that shares it. */
export type Voice = { readonly door: Door; readonly decoder: Decoder; readonly refuse: Refuse };

export type Arrival = RequestContext & {
  readonly fromHeaders: Credential | null;
  /** The body, while it is read. */
  bytes: Buffer;
  /** The token that was found in the body before it was opened, and its owner. */
  fromBody: { readonly token: string; readonly credential: Credential } | null;
  /** Known when the body was opened. */
  voice: Voice;
  head: RequestHead;
};

export const NO_BYTES = Buffer.alloc(0);

export function voiceOf(door: Door): Voice {
  return { door, decoder: decoderOf(door.format), refuse: refuserOf(door) };
}
