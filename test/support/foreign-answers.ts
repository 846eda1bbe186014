/** What answers in ClickHouse's place, as operators of such systems report it. */
import type { ImitatedAnswer } from './fault-proxy.ts';

const HTML = { 'content-type': 'text/html; charset=utf-8' };
/** As ClickHouse's, apart from the one that counts. */
const RIGHT_LOOKING = {
  'content-type': 'text/plain; charset=UTF-8',
  'x-clickhouse-summary': '{"written_rows":"1"}',
  'x-clickhouse-server-display-name': 'replica-2',
  'x-clickhouse-timezone': 'UTC',
};

/** A client that only checks the status would take each for a success, or for an empty answer. */
export const STRANGERS: readonly (readonly [name: string, answer: ImitatedAnswer])[] = [
  ['a maintenance page', { status: 200, headers: HTML, text: '<html><h1>Back soon</h1></html>' }],
  ['a JSON service', { status: 200, headers: { 'content-type': 'application/json' }, text: '{"status":"ok"}' }],
  ['a default backend that says nothing', { status: 200 }],
  ['"no content"', { status: 204 }],
  ['a login portal', { status: 302, headers: { ...HTML, location: 'https://portal.example/login' } }],
  ['an answer to another query', { status: 200, headers: RIGHT_LOOKING, id: 'wrong' }],
  ['right-looking headers without an id', { status: 200, headers: RIGHT_LOOKING }],
  ['another path', { status: 404, headers: HTML, text: '<h1>Not Found</h1>' }],
];

/** ClickHouse's own answers, by their id, that leave the outcome of an insert open. */
export const NO_VERDICTS: readonly (readonly [name: string, answer: ImitatedAnswer])[] = [
  ['content where none was to come', { status: 200, id: 'right', text: 'Code: 241. DB::Exception: …' }],
  ['a 200 with an error in its header', { status: 200, code: 1002, text: 'in trouble' }],
  ['an answer that is cut short', { status: 200, id: 'right', isShort: true }],
  ['an error that is cut short', { status: 400, code: 27, text: 'Code: 27. DB::Exc', isShort: true }],
  ['"no content", under the right id', { status: 204, id: 'right' }],
];
