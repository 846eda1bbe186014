/** What a route of the console says of itself: the only source of the API's description, and of what is checked. */
import type { GenericSchema, InferOutput } from 'valibot';
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

/** A value that becomes JSON of type `T`: instants are written as text. */
export type Json<T> = T extends string
  ? T | Date
  : T extends readonly (infer Item)[]
    ? readonly Json<Item>[]
    : T extends object
      ? { readonly [Name in keyof T]: Json<T[Name]> }
      : T;

/** For `satisfies`: the schema, where it says what the type of the answer says. */
export type SchemaOf<Answer, Schema extends GenericSchema> = Answer extends Json<InferOutput<Schema>> ? Schema : never;
