/** What the routes of the session say of themselves. */
import * as v from 'valibot';
import type { SessionAnswer } from './session/answers.ts';
import type { DescribedRoute, SchemaOf } from './operator/described.ts';
import { Text } from './operator/fields.ts';
import { SignIn } from './session/session-routes.ts';

const Session = v.strictObject({
  name: Text,
  role: v.picklist(['viewer', 'operator']),
  csrf: Text,
  showsEvents: v.boolean(),
  service: v.strictObject({
    url: Text,
    version: Text,
    eventStore: v.nullable(v.picklist(['clickhouse', 'postgres'])),
    production: v.boolean(),
    role: v.picklist(['all', 'ingest', 'flush']),
  }),
});

const SIGNED_IN = {
  200: { description: 'Who is signed in.', schema: Session satisfies SchemaOf<SessionAnswer, typeof Session> },
};

/** For the description of the console's API. */
export const SESSION_ROUTES: readonly DescribedRoute[] = [
  {
    method: 'POST',
    path: '/session',
    tag: 'Session',
    summary: 'Sign in, with a link or with name and password.',
    description: 'Needs no session and no `X-Weir-Csrf`. Sets the cookie of the session.',
    body: SignIn,
    answers: SIGNED_IN,
    refusals: ['invalid_json', 'not_json', 'invalid_request', 'wrong_credentials', 'too_many_attempts', 'busy'],
  },
  {
    method: 'GET',
    path: '/session',
    tag: 'Session',
    summary: 'Who is signed in, and the service that this console belongs to.',
    answers: SIGNED_IN,
    refusals: [],
  },
  {
    method: 'DELETE',
    path: '/session',
    tag: 'Session',
    summary: 'Sign out.',
    answers: { 204: { description: 'The session is over.' } },
    refusals: [],
  },
];
