/** What came of a job, in words. The API passes results on as the commands print them, so that their shape is looked at. */
import type { ComponentChildren } from 'preact';
import type { Job } from '../../operator/answers.ts';
import { Table } from './table.tsx';
import { counted } from './words.ts';

type Result = Readonly<Record<string, unknown>>;

/** Refused rows that are named. */
const REASONS_SHOWN = 20;

export function JobResult({ kind, result }: { kind: Job['kind']; result: unknown }) {
  if (typeof result !== 'object' || result === null) return null;
  return <div role="status">{inWords(kind, result as Result)}</div>;
}

function inWords(kind: Job['kind'], result: Result): ComponentChildren {
  switch (kind) {
    case 'try':
      return <Tried result={result} />;
    case 'replay':
      return <Replayed result={result} />;
    case 'discard':
      return <p>{deletedOf(result)}</p>;
    case 'replay rejected':
      return <RejectedReplayed result={result} />;
    case 'delete project':
      return <p>The project and all of its events are deleted.</p>;
    case 'change retention':
      return <p>{expiredIn(result)}</p>;
  }
}

type Trial = {
  readonly id: string;
  readonly wouldPass: number;
  readonly refused: number;
  readonly unknown: number;
  readonly reasons: readonly { readonly row: number; readonly message: string }[];
};

function Tried({ result }: { result: Result }) {
  const letters = (result['letters'] ?? []) as readonly Trial[];
  const sum = (name: 'wouldPass' | 'refused' | 'unknown') => letters.reduce((total, letter) => total + letter[name], 0);
  const reasons = letters
    .flatMap(({ id, reasons }) => reasons.map((reason) => ({ id, ...reason })))
    .slice(0, REASONS_SHOWN);
  const total = number(result['total']);
  return (
    <>
      <p>
        <b>{counted(sum('wouldPass'), 'event')} would be stored</b>, {counted(sum('refused'), 'event')} would be refused
        {sum('unknown') > 0 && `, ${counted(sum('unknown'), 'event')} could not be looked at`}
        {total > letters.length && `. Tried: ${counted(letters.length, 'letter')} of ${total}`}.
      </p>
      {reasons.length > 0 && (
        <Table
          caption="Events that would be refused"
          rows={reasons}
          keyOf={({ id, row }) => `${id} ${row}`}
          columns={[
            { title: 'Letter', cell: ({ id }) => <code>{id}</code> },
            { title: 'Event', cell: ({ row }) => row + 1, isNumber: true },
            { title: 'Why', cell: ({ message }) => message },
          ]}
        />
      )}
    </>
  );
}

function Replayed({ result }: { result: Result }) {
  const after = result['after'] as Result | null | undefined;
  const due = `${counted(number(result['letters']), 'letter')} with ${counted(number(result['events']), 'event')} became due.`;
  if (!after) return <p>{due}</p>;
  const refused = number(after['refused']);
  const waiting = number(after['waiting']);
  const untried = number(after['untried']);
  return (
    <p>
      {due} <b>{counted(number(after['stored']), 'letter')} stored</b>
      {refused > 0 &&
        `, ${counted(refused, 'letter')} refused again with ${counted(number(after['refusedEvents']), 'event')}`}
      {waiting > 0 && `, ${counted(waiting, 'letter')} tried in vain and tried again later`}
      {untried > 0 && `, ${counted(untried, 'letter')} not tried: ${text(after['why'])}`}.
    </p>
  );
}

const deletedOf = (result: Result) =>
  `${counted(number(result['letters']), 'letter')} with ${counted(number(result['events']), 'event')} deleted` +
  `${number(result['left']) > 0 ? `; ${counted(number(result['left']), 'letter')} being replayed left alone` : ''}.`;

function RejectedReplayed({ result }: { result: Result }) {
  const rejected = Object.entries((result['rejected'] ?? {}) as Readonly<Record<string, number>>);
  return (
    <>
      <p>
        <b>{counted(number(result['accepted']), 'event')} accepted</b>: on the way to the event store.
      </p>
      {rejected.map(([reason, count]) => (
        <p key={reason}>
          {counted(count, 'event')} rejected again: {reason}
        </p>
      ))}
    </>
  );
}

function expiredIn(result: Result): string {
  const { changed, expired } = (result['stored'] ?? {}) as Result;
  return `${counted(number(changed), 'stored event')} got another expiry, ${counted(number(expired), 'event')} deleted.`;
}

const number = (value: unknown): number => (typeof value === 'number' ? value : 0);
const text = (value: unknown): string => (typeof value === 'string' ? value : '');
