/** What can be changed about a project, each asked before it is done. */
import { useState } from 'preact/hooks';
import type { ProjectDetails, RetentionEffect } from '../../operator/answers.ts';
import { get, put, remove } from '../parts/api.ts';
import { Confirm } from '../parts/dialog.tsx';
import { Problem, Waiting } from '../parts/feedback.tsx';
import { Field } from '../parts/form.tsx';
import { followJobs } from '../parts/jobs.tsx';
import { type Loaded, useLoaded } from '../parts/load.ts';
import { counted } from '../parts/words.ts';

type Change = { project: ProjectDetails; path: string; close: () => void; changed: () => void };

export function Retention({ project, path, close, changed }: Change) {
  const [retention, setRetention] = useState(project.retention);
  const [isForStored, setForStored] = useState(false);
  const effect = useRetentionEffect(path, isForStored ? retention : null);
  const change = async () => {
    await put(`${path}/retention`, { retention, existing: isForStored });
    await followJobs();
    changed();
  };
  return (
    <Confirm
      title="How long are events kept?"
      act="Change retention"
      run={change}
      close={close}
      isBlocked={isForStored && effect.value === null}
      isDangerous={isForStored}
    >
      <Field
        label="Events expire this long after arrival"
        value={retention}
        change={setRetention}
        hint="24h, 90d or any duration from 1m; none keeps them forever. It holds for events that arrive from a minute from now."
        required
      />
      <p>
        <label>
          <input
            type="checkbox"
            checked={isForStored}
            onChange={(event) => setForStored(event.currentTarget.checked)}
          />{' '}
          Also for events that are stored already
        </label>
      </p>
      {isForStored && <Expiring effect={effect} />}
    </Confirm>
  );
}

/** What a change of stored events would delete; nothing is counted where it is none. */
const useRetentionEffect = (path: string, retention: string | null): Loaded<RetentionEffect | null> =>
  useLoaded(String(retention), async (signal) =>
    retention === null ? null : get<RetentionEffect>(`${path}/retention`, { to: retention }, { signal }),
  );

function Expiring({ effect: { value, error } }: { effect: Loaded<RetentionEffect | null> }) {
  if (value === null) return error === null ? <Waiting what="Counting …" /> : <Problem error={error} />;
  return (
    <p role="status">
      Of {counted(value.stored, 'stored event')}, {counted(value.differing, 'event')} would get another expiry, and{' '}
      <b>{counted(value.expiring, 'event')} would be deleted at once, for good</b>.
    </p>
  );
}

export function Origins({ project, path, close, changed }: Change) {
  const [text, setText] = useState(project.allowedOrigins.join(' '));
  const allowedOrigins = text.split(/[\s,]+/).filter(Boolean);
  return (
    <Confirm
      title="Which pages may send events?"
      act="Change origins"
      run={() => put(`${path}/origins`, { allowedOrigins }).then(changed)}
      close={close}
    >
      <Field
        label="Allowed origins"
        value={text}
        change={setText}
        hint="Such as https://shop.example.com, with spaces between them; nothing allows every origin."
      />
    </Confirm>
  );
}

export function Delete({ project, path, close }: Change) {
  const [typed, setTyped] = useState('');
  return (
    <Confirm
      title="Delete the project and all of its events?"
      act="Delete for good"
      run={() => remove(path).then(followJobs)}
      close={close}
      isBlocked={typed !== project.name}
      isDangerous
    >
      <p>
        Its tokens stop working, and its events are deleted everywhere: from the event store, the dead letters and the
        rejected events. Nothing brings them back.
      </p>
      <Field label={`Type the project’s name, ${project.name}`} value={typed} change={setTyped} required />
    </Confirm>
  );
}
