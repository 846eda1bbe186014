/** What operators do to dead letters, each only after they saw what it touches. */
import { useState } from 'preact/hooks';
import { addressOf, post, type Query, session } from '../parts/api.ts';
import { Confirm } from '../parts/dialog.tsx';
import { Problem, Waiting } from '../parts/feedback.tsx';
import { Field } from '../parts/form.tsx';
import { begin } from '../parts/jobs.tsx';
import { type Loaded, useLoaded } from '../parts/load.ts';
import { mayChange } from '../parts/session.ts';
import { counted, grouped } from '../parts/words.ts';
import type { LetterCount, LetterSelection } from '../../operator/answers.ts';

type Act = 'try' | 'replay' | 'discard';

export function LetterActions({ selection }: { selection: LetterSelection }) {
  const [asked, setAsked] = useState<Act | null>(null);
  const close = () => setAsked(null);
  return (
    <div class="buttons">
      <button type="button" onClick={() => setAsked('try')}>
        Dry run …
      </button>
      {mayChange() && (
        <>
          <button type="button" class="chief" onClick={() => setAsked('replay')}>
            Replay …
          </button>
          <button type="button" onClick={() => setAsked('discard')}>
            Discard …
          </button>
        </>
      )}
      {session.value?.showsEvents && (
        <a class="button" href={addressOf('/letters/export', exportOf(selection))} download>
          Export
        </a>
      )}
      {asked === 'try' && <Try selection={selection} close={close} />}
      {asked === 'replay' && <Replay selection={selection} close={close} />}
      {asked === 'discard' && <Discard selection={selection} close={close} />}
    </div>
  );
}

type Asked = { readonly selection: LetterSelection; readonly close: () => void };

function Try({ selection, close }: Asked) {
  const touched = useTouched(selection);
  return (
    <Confirm title="Dry run?" act="Dry run" run={() => begin('/letters/try', { selection })} close={close}>
      <p>The event store is asked which of these events it would take. Nothing is changed.</p>
      <Touched selection={selection} touched={touched} />
    </Confirm>
  );
}

function Replay({ selection, close }: Asked) {
  const touched = useTouched(selection);
  return (
    <Confirm
      title="Replay?"
      act="Replay"
      run={() => begin('/letters/replay', { selection })}
      close={close}
      isBlocked={touched.value === null}
    >
      <p>
        They become due at once, those in quarantine too, with all their tries restored. The running Weir replays them;
        what lands, lands once.
      </p>
      <Touched selection={selection} touched={touched} />
    </Confirm>
  );
}

function Discard({ selection, close }: Asked) {
  const [reason, setReason] = useState('');
  const touched = useTouched(selection);
  const asOf = touched.value?.asOf;
  return (
    <Confirm
      title="Discard?"
      act="Discard for good"
      run={() => begin('/letters/discard', { selection, reason, asOf })}
      close={close}
      isDangerous
      isBlocked={reason.trim() === '' || asOf === undefined}
    >
      <p>
        <b>
          {selection.by === 'project' ? 'The project’s events in them are' : 'Their events are'} deleted for good and
          will never be stored.
        </b>{' '}
        Export them first if anybody may want them. Letters that come from now on are left.
      </p>
      <Touched selection={selection} touched={touched} />
      <Field label="Reason, for the audit" value={reason} change={setReason} required />
    </Confirm>
  );
}

/** What an action would touch, once that is counted. */
const useTouched = (selection: LetterSelection): Loaded<LetterCount> =>
  useLoaded(JSON.stringify(selection), (signal) => post<LetterCount>('/letters/count', { selection }, { signal }));

function Touched({
  selection,
  touched: { value, error, reload },
}: {
  selection: LetterSelection;
  touched: Loaded<LetterCount>;
}) {
  if (value === null) {
    return error === null ? <Waiting what="Counting …" /> : <Problem error={error} retry={reload} />;
  }
  const { waiting, replaying, quarantined } = value;
  return (
    <p role="status">
      This touches <b>{counted(waiting.letters + quarantined.letters, 'letter')}</b> with{' '}
      <b>{counted(waiting.events + quarantined.events, 'event')}</b>
      {selection.by === 'project' && ', those of other projects among them'}: {grouped(waiting.letters)} waiting,{' '}
      {grouped(quarantined.letters)} quarantined
      {replaying.letters > 0 && `; ${counted(replaying.letters, 'letter')} being replayed right now are left alone`}.
    </p>
  );
}

/** A selection as the query of a link. */
function exportOf(selection: LetterSelection): Query {
  switch (selection.by) {
    case 'ids':
      return { ids: selection.ids.join(',') };
    case 'group':
      return { group: selection.group };
    case 'project':
      return { project: selection.projectId };
    case 'quarantined':
      return { quarantined: 'true' };
    case 'all':
      return { all: 'true' };
  }
}

/** The kinds of jobs that these begin. */
export const LETTER_JOBS = ['try', 'replay', 'discard'] as const;
