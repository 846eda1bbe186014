/** What the console and the service tell each other about events on their way: plain values. */

/** Which events somebody wants to see; every member narrows it further. */
export type EventFilter = {
  readonly projectId?: string;
  /** The name. */
  readonly event?: string;
  readonly id?: string;
  /** The user's id, or the anonymous one. */
  readonly user?: string;
};

/** What one viewer wants. */
export type StreamOrder = {
  readonly stream: number;
  readonly filter: EventFilter;
  /** How many events may be sent until the next order: what the viewer can take. */
  readonly credits: number;
};

/** An event that was accepted. */
export type SeenEvent = {
  /** The streams that it is for. */
  readonly streams: readonly number[];
  /** Its request, in what follows. */
  readonly trail: number;
  /** Its place among the accepted events of the request. */
  readonly place: number;
  readonly requestId: string;
  /** Epoch ms. */
  readonly at: number;
  readonly ack: string;
  /** The row, or its beginning. */
  readonly row: string;
  readonly isCut: boolean;
};

/** `settled`: the events of a request have another home; those at `apart` became dead letters. */
export type Step = {
  readonly trail: number;
  readonly stage: 'journaled' | 'refused' | 'batched' | 'stored' | 'dead-lettered' | 'replicated';
  readonly at: number;
  readonly batchId: string | null;
  readonly apart: readonly number[];
};

/** Since the last report: events that match, as far as they were looked at, and events that were not looked at. */
export type StreamCounts = { readonly stream: number; readonly matched: number; readonly unexamined: number };

/** What was seen since the last report. */
export type WatchReport = {
  /** The worker that it is from; null where there is one process. */
  readonly worker: number | null;
  readonly events: readonly SeenEvent[];
  readonly steps: readonly Step[];
  readonly counts: readonly StreamCounts[];
};

/** What is searched among the events that are pending. */
export type PendingQuestion =
  | { readonly by: 'ids'; readonly ids: readonly string[] }
  | { readonly by: 'user'; readonly user: string; readonly projectId: string | null }
  | { readonly by: 'request'; readonly requestId: string };

export type PendingEvent = {
  readonly row: string;
  readonly isCut: boolean;
  /** null while it is queued. */
  readonly batchId: string | null;
};

/** A request of a while ago. */
export type RecentRequest = {
  readonly requestId: string;
  readonly projectId: string;
  readonly receivedAt: number;
  readonly accepted: number;
  readonly rejected: number;
  /** It was refused as a whole after its events were read: nothing of it was taken, and its sender knows. */
  readonly isRefused: boolean;
  /** Of its accepted events, the first ones; none where they are no longer remembered. */
  readonly ids: readonly string[];
};

export type PendingAnswer = {
  readonly events: readonly PendingEvent[];
  readonly requests: readonly RecentRequest[];
  /** Epoch ms since when requests are remembered. */
  readonly requestsSince: number | null;
  /** Whether there was more to look at. */
  readonly isCutShort: boolean;
  /** Workers that did not answer. */
  readonly silent: number;
};

/** Somebody's hold on a service whose events they look at. */
export type WatchEnd = {
  /** All streams there are, again and again: what is not among them has ended. */
  order(streams: readonly StreamOrder[]): void;
  /** Never rejects. */
  find(question: PendingQuestion): Promise<PendingAnswer>;
  close(): void;
};

export type OpenWatch = (report: (report: WatchReport) => void) => Promise<WatchEnd>;
