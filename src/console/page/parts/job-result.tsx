/** What came of a job, in words. The API passes results on as the commands print them, so that their shape is looked at. */
import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import type { Job } from '../../operator/answers.ts';
import type { ApiError } from './api.ts';
import { Problem } from './feedback.tsx';
import { type Result, deletionIn, discardIn, number, retentionIn, text, unreadableIn } from './result-words.ts';
import { linkTo } from './route.ts';
import { mayChange } from './session.ts';
import { Table } from './table.tsx';
import { counted } from './words.ts';

/** Refused rows, and letters, that are named. */
const REASONS_SHOWN = 20;
const LETTERS_SHOWN = 5;

/** Deletes a project once more. Throws `ApiError`. */
type DeleteAgain = (projectId: string) => Promise<void>;

/** `deleteAgain`: the page of a deleted project is gone, so that its job has to offer that. */
export function JobResult({
  kind,
  result,
  deleteAgain,
}: {
  kind: Job['kind'];
  result: unknown;
  deleteAgain: DeleteAgain;
}) {
  if (typeof result !== 'object' || result === null) return null;
  return <div role="status">{inWords(kind, result as Result, deleteAgain)}</div>;
}

function inWords(kind: Job['kind'], result: Result, deleteAgain: DeleteAgain): ComponentChildren {
  switch (kind) {
    case 'try':
      return <Tried result={result} />;
    case 'replay':
      return <Replayed result={result} />;
    case 'discard':
      return (
        <>
          <Lines lines={discardIn(result)} />
          <Unreadable ids={unreadableIn(result)} />
        </>
      );
    case 'replay rejected':
      return <RejectedReplayed result={result} />;
    case 'delete project':
      return <Deleted result={result} deleteAgain={deleteAgain} />;
    case 'change retention':
      return <Lines lines={retentionIn(result)} />;
  }
}

function Lines({ lines }: { lines: readonly string[] }) {
  return (
    <>
      {lines.map((line) => (
        <p key={line}>{line}</p>
      ))}
    </>
  );
}

/** The letters that somebody has to look at, one by one. */
function Unreadable({ ids }: { ids: readonly string[] }) {
  if (ids.length === 0) return null;
  return (
    <ul>
      {ids.slice(0, LETTERS_SHOWN).map((id) => (
        <li key={id}>
          <a class="mono" href={linkTo(['letters', 'letter', id])}>
            {id}
          </a>
        </li>
      ))}
    </ul>
  );
}

function Deleted({ result, deleteAgain }: { result: Result; deleteAgain: DeleteAgain }) {
  const { projectId, isLeft, lines } = deletionIn(result);
  const [error, setError] = useState<ApiError | null>(null);
  const [isAsking, setAsking] = useState(false);
  const again = async (id: string) => {
    setAsking(true);
    setError(null);
    await deleteAgain(id).catch(setError);
    setAsking(false);
  };
  return (
    <div class={isLeft ? 'bad-text' : undefined}>
      <Lines lines={lines} />
      <Unreadable ids={unreadableIn((result['deadLetters'] ?? {}) as Result)} />
      <Problem error={error} />
      {projectId !== null && mayChange() && (
        <button type="button" class="small" disabled={isAsking} onClick={() => void again(projectId)}>
          Delete again
        </button>
      )}
    </div>
  );
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
  const discarded = number(after['discarded']);
  const divided = number(after['divided']);
  return (
    <p>
      {due} <b>{counted(number(after['stored']), 'letter')} stored</b>
      {refused > 0 &&
        `, ${counted(refused, 'letter')} refused again with ${counted(number(after['refusedEvents']), 'event')}`}
      {waiting > 0 && `, ${counted(waiting, 'letter')} tried in vain and tried again later`}
      {discarded > 0 && `, ${counted(discarded, 'letter')} discarded meanwhile`}
      {divided > 0 && `, ${counted(divided, 'letter')} divided meanwhile`}
      {untried > 0 && `, ${counted(untried, 'letter')} not tried: ${text(after['why'])}`}.
    </p>
  );
}

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
