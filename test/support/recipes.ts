/** The events that the recipes of docs/QUERIES.md are tried with, and what each of them answers then. */
import { readFileSync } from 'node:fs';

type Recipe = { readonly title: string; readonly sql: string };

/** `level`: of their headings. Those of ClickHouse's SQL have three signs, those of Postgres's four. */
export const recipesOf = (level: '###' | '####'): readonly Recipe[] =>
  [
    ...readFileSync(new URL('../../docs/QUERIES.md', import.meta.url), 'utf8').matchAll(
      new RegExp(`^${level} (.+)\\n\\n(?:(?!\`\`\`|#).*\\n+)*\`\`\`sql\\n([^\`]+)\`\`\``, 'gm'),
    ),
  ].map(([, title, sql]) => ({ title: title!, sql: sql! }));

type Told = Record<string, unknown>;
const page = (path: string, source?: string) => ({ path, ...(source && { utm_source: source }) });
const order = (amount: number) => ({ amount, currency: 'EUR', plan: 'pro' });

/** Time, anonymous id, user, session, event, properties; two weeks that begin on a Monday. */
const EVENTS: readonly [string, string | null, string | null, string | null, string, Told?, Told?][] = [
  ['05-04T09:00', 'a1', null, 's1', 'page_viewed', page('/', 'google')],
  ['05-04T09:01', 'a1', null, 's1', 'page_viewed', page('/pricing')],
  ['05-04T09:02', 'a1', 'alice', 's1', '$identify'],
  ['05-04T09:03', 'a1', 'alice', 's1', 'signed_up', { plan: 'pro' }],
  ['05-04T09:10', 'a1', 'alice', 's1', 'order_paid', order(120.5)],
  ['05-04T10:00', 'a2', null, 's2', 'page_viewed', page('/', 'newsletter')],
  ['05-04T10:05', 'a2', 'bob', 's2', '$identify'],
  ['05-04T10:06', 'a2', 'bob', 's2', 'signed_up', { plan: 'free' }],
  ['05-05T08:00', 'a3', null, 's3', 'page_viewed', page('/blog', 'google')],
  ['05-05T08:30', 'a3', 'carol', 's3', '$identify'],
  ['05-05T08:31', 'a3', 'carol', 's3', 'signed_up', { plan: 'pro' }],
  ['05-05T12:00', 'a1', 'alice', 's4', 'page_viewed', page('/app')],
  ['05-06T09:00', 'a3', 'carol', 's5', 'page_viewed', page('/pricing', 'ads')],
  ['05-06T09:20', 'a3', 'carol', 's5', 'order_paid', order(80)],
  ['05-06T11:00', 'a9', null, 's6', 'page_viewed', page('/', 'google')],
  ['05-11T09:00', 'a1', 'alice', 's7', 'page_viewed', page('/app')],
  ['05-11T09:30', 'a1', 'alice', 's7', 'order_paid', order(40)],
  ['05-12T10:00', 'a4', 'dave', 's8', 'page_viewed', page('/')],
  ['05-12T10:05', 'a4', 'dave', 's8', 'signed_up', { plan: 'free' }],
  ['05-12T10:00', null, null, null, 'job_failed', {}, { service: 'billing', level: 'error', trace_id: 't1' }],
  ['05-12T10:01', null, null, null, 'job_done', {}, { service: 'billing', level: 'info', trace_id: 't1' }],
  ['05-12T10:02', null, null, null, 'job_done', {}, { service: 'mail', level: 'info' }],
];

export const events = EVENTS.map(([at, anonymous, user, session, event, properties = {}, extras = {}], index) => ({
  event,
  timestamp: `2026-${at}:00Z`,
  event_id: `01890000-0000-7000-8000-${String(index).padStart(12, '0')}`,
  ...(anonymous && { anonymous_id: anonymous }),
  ...(user && { user_id: user }),
  ...(session && { session_id: session }),
  properties,
  ...extras,
}));

export const ANSWERS: Record<string, unknown[]> = {
  'Events by day': [
    ['2026-05-04', '8'],
    ['2026-05-05', '4'],
    ['2026-05-06', '3'],
    ['2026-05-11', '2'],
    ['2026-05-12', '5'],
  ],
  'Top events': [
    ['page_viewed', '9', '5'],
    ['signed_up', '4', '4'],
    ['$identify', '3', '3'],
    ['order_paid', '3', '2'],
    ['job_done', '2', '0'],
    ['job_failed', '1', '0'],
  ],
  'Active people by day': [
    ['2026-05-04', '2'],
    ['2026-05-05', '2'],
    ['2026-05-06', '2'],
    ['2026-05-11', '1'],
    ['2026-05-12', '1'],
  ],
  'Active people by week': [
    ['2026-05-04', '4'],
    ['2026-05-11', '2'],
  ],
  'People active in the last seven days, for each day': [
    ['2026-05-04', '2'],
    ['2026-05-05', '3'],
    ['2026-05-06', '4'],
    ['2026-05-07', '4'],
    ['2026-05-08', '4'],
    ['2026-05-09', '4'],
    ['2026-05-10', '4'],
    ['2026-05-11', '3'],
    ['2026-05-12', '4'],
    ['2026-05-13', '2'],
    ['2026-05-14', '2'],
    ['2026-05-15', '2'],
    ['2026-05-16', '2'],
    ['2026-05-17', '2'],
  ],
  Stickiness: [[0.32]],
  'New and returning people by day': [
    ['2026-05-04', '2', '0'],
    ['2026-05-05', '1', '1'],
    ['2026-05-06', '1', '1'],
    ['2026-05-11', '0', '1'],
    ['2026-05-12', '1', '0'],
  ],
  'Hours of the week': [
    [1, 9, '3'],
    [1, 10, '1'],
    [2, 8, '1'],
    [2, 10, '1'],
    [2, 12, '1'],
    [3, 9, '1'],
    [3, 11, '1'],
  ],
  'Counts over years, at once': [
    ['2026-05-04', '1', '1'],
    ['2026-05-06', '1', '1'],
    ['2026-05-11', '1', '1'],
  ],
  'Top pages': [
    ['/', '4', '4'],
    ['/app', '2', '1'],
    ['/pricing', '2', '2'],
    ['/blog', '1', '1'],
  ],
  'The values of one property': [
    ['free', '2'],
    ['pro', '2'],
  ],
  'The properties an event has': [
    ['amount', '3', '80'],
    ['currency', '3', '"EUR"'],
    ['plan', '3', '"pro"'],
  ],
  'A numeric property in figures': [['3', 80.17, 80, 120.5]],
  'A distribution': [
    [0, '1'],
    [50, '1'],
    [100, '1'],
  ],
  'The values of a promoted property': [
    ['free', '2'],
    ['pro', '2'],
  ],
  'Revenue by a promoted property': [['pro', '2', 240.5]],
  'Revenue by day': [
    ['2026-05-04', '120.5'],
    ['2026-05-06', '80'],
    ['2026-05-11', '40'],
  ],
  'The best customers': [
    ['alice', '2', '160.5'],
    ['carol', '1', '80'],
  ],
  'Revenue for each active person, by week': [
    ['2026-05-04', 50.12],
    ['2026-05-11', 20],
  ],
  'A funnel': [['5', '4', '2']],
  'Conversion by a property': [
    ['free', '2', '0', 0],
    ['pro', '2', '2', 1],
  ],
  'Time from one step to the next': [['2', 748]],
  'People who did one thing and not another': [['bob'], ['dave']],
  'Retention by cohort': [
    ['2026-05-04', '0', '4'],
    ['2026-05-04', '1', '1'],
    ['2026-05-11', '0', '1'],
  ],
  'Retention on given days': [['4', '2', '1']],
  'How often people come': [
    ['1', '3'],
    ['2', '1'],
    ['3', '1'],
  ],
  'People who stayed away': [
    ['bob', '2026-05-04'],
    ['carol', '2026-05-06'],
  ],
  'Sessions and their length': [
    ['2026-05-04', '2', 480],
    ['2026-05-05', '2', 930],
    ['2026-05-06', '2', 600],
    ['2026-05-11', '1', 1800],
    ['2026-05-12', '1', 300],
  ],
  'Bounce rate': [[0.25]],
  'Where sessions begin and end': [
    ['/', '/', '3'],
    ['/app', '/app', '2'],
    ['/', '/pricing', '1'],
    ['/blog', '/blog', '1'],
    ['/pricing', '/pricing', '1'],
  ],
  'What people do next': [
    ['$identify', '1'],
    ['order_paid', '1'],
  ],
  'The most common paths': [
    ['page_viewed', '2'],
    ['page_viewed > $identify > signed_up', '2'],
    ['page_viewed > order_paid', '2'],
    ['page_viewed > page_viewed > $identify > signed_up > order_paid', '1'],
    ['page_viewed > signed_up', '1'],
  ],
  "One person's history": [
    ['2026-05-05 08:00:00.000', 'page_viewed', '/blog'],
    ['2026-05-05 08:30:00.000', '$identify', ''],
    ['2026-05-05 08:31:00.000', 'signed_up', ''],
    ['2026-05-06 09:00:00.000', 'page_viewed', '/pricing'],
    ['2026-05-06 09:20:00.000', 'order_paid', ''],
  ],
  'Who is behind an anonymous id': [['bob']],
  'First touch': [['google', '2']],
  'Last touch': [
    ['google', '2'],
    ['ads', '1'],
  ],
  'The latest events': [
    ['2026-05-12 10:05:00.000', 'signed_up', 'dave'],
    ['2026-05-12 10:02:00.000', 'job_done', null],
    ['2026-05-12 10:01:00.000', 'job_done', null],
  ],
  'A sample': [['14']],
  'Events that came late': [['order_paid', '3', 1]],
  'Events that were sent more than once': [['page_viewed', '1']],
  'What services report': [
    ['billing', 'error', '1'],
    ['billing', 'info', '1'],
    ['mail', 'info', '1'],
  ],
  'All that belongs to one trace': [
    ['2026-05-12 10:00:00.000', 'billing', 'job_failed', 'error'],
    ['2026-05-12 10:01:00.000', 'billing', 'job_done', 'info'],
  ],
};
