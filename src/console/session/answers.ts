/** The types of what the session's routes answer, for the page. */

/** Of `POST /session` and `GET /session`. */
export type SessionAnswer = {
  readonly name: string;
  readonly role: 'viewer' | 'operator';
  /** The value of the header `X-Weir-Csrf` of every change. */
  readonly csrf: string;
  /** Whether the contents of events are shown to this person. */
  readonly showsEvents: boolean;
  readonly service: {
    /** Where clients send events. */
    readonly url: string;
    readonly version: string;
    readonly eventStore: 'clickhouse' | 'postgres' | null;
    readonly production: boolean;
    readonly role: 'all' | 'ingest' | 'flush';
  };
};
