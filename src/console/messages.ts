/**
 * The messages between the service and its console. Configuration and addresses travel this way too: other users can
 * read a command line or an environment.
 */
import type { Config } from '../config/config.ts';
import type { StoreAccess } from '../composition/storage.ts';
import type { PendingAnswer, PendingQuestion, StreamOrder, WatchReport } from '../watch/messages.ts';

/** Everything the console needs to begin. */
export type ConsoleAssignment = {
  readonly config: Config;
  readonly access: StoreAccess;
  readonly version: string;
  /** Where the service answers on this machine. */
  readonly serviceUrl: string;
  /** `auto` the first time; then the one it had, so that open pages find it again. */
  readonly port: number | 'auto';
};

/** Messages of the console; they have no reply. */
export type ConsoleMessage =
  | { readonly kind: 'listening'; readonly origin: string; readonly port: number }
  /** The events that viewers want to see; what is not among them has ended. */
  | { readonly kind: 'watch'; readonly streams: readonly StreamOrder[] }
  /** For a reason that a person can fix. */
  | { readonly kind: 'cannot start'; readonly message: string };

export type ServiceMessage =
  | ({ readonly kind: 'start' } & ConsoleAssignment)
  | { readonly kind: 'watched'; readonly report: WatchReport }
  /** End what is under way, then end. */
  | { readonly kind: 'stop' };

/** What the service asks the console. */
export type ConsoleRequests = {
  /** A link that signs in, once, under that name. */
  link: { asks: { readonly name: string; readonly validMs: number }; answers: { readonly url: string } };
};

/** What the console asks the service. */
export type ServiceRequests = {
  /** Which pending events somebody looks for, and which events a request of a while ago brought. */
  pending: { asks: PendingQuestion; answers: PendingAnswer };
};
