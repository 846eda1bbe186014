/** What a route of the console says of itself: the only source of the API's description, and of what is checked. */
import type { GenericSchema } from 'valibot';
import type { ConsoleRefusalCode } from '../refusals.ts';

export type Tag =
  | 'Session'
  | 'Now'
  | 'Dead letters'
  | 'Rejected events'
  | 'Switches'
  | 'Projects'
  | 'Ask'
  | 'Jobs'
  | 'Ledger'
  | 'Description';

/** An answer that is no refusal: JSON of that schema, or something else. */
export type DescribedAnswer = {
  readonly description: string;
  readonly schema?: GenericSchema;
  /** Of what is not JSON. */
  readonly mediaType?: string;
};

export type DescribedRoute = {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Hono's pattern, relative to the operator API. */
  readonly path: string;
  readonly tag: Tag;
  readonly summary: string;
  readonly description?: string;
  readonly query?: GenericSchema;
  readonly body?: GenericSchema;
  readonly answers: { readonly [status: number]: DescribedAnswer };
  /** Refusals of the route itself; those of every route are added to them. */
  readonly refusals: readonly ConsoleRefusalCode[];
};
