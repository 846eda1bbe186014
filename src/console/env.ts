/** What every handler of the console finds in the context of its request. */
import type { IncomingMessage } from 'node:http';

/** Who is signed in. The session's check sets it before any handler of the operator API runs. */
export type Operator = {
  /** The name under which changes go into the audit. */
  readonly name: string;
  /** A viewer changes nothing. */
  readonly role: 'viewer' | 'operator';
  /** Whether the contents of events may be shown to them; otherwise values are hidden. */
  readonly showsEvents: boolean;
};

/** The environment of the console's Hono apps. */
export type ConsoleEnv = {
  Variables: { operator: Operator; requestId: string };
  Bindings: { incoming: IncomingMessage };
};
