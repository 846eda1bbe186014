/** What clients of a project send to be let in. */
import { useState } from 'preact/hooks';
import { post, remove } from '../parts/api.ts';
import { Confirm } from '../parts/dialog.tsx';
import { Nothing, Status } from '../parts/feedback.tsx';
import { Choice, Copyable, Field } from '../parts/form.tsx';
import { mayChange } from '../parts/session.ts';
import { Table } from '../parts/table.tsx';
import { moment } from '../parts/words.ts';
import type { NewToken, ProjectDetails, Token } from '../../operator/answers.ts';

/** `changed` gets a new token in plain text, which nobody can ask for again; null when one was revoked. */
export function Tokens({ project, changed }: { project: ProjectDetails; changed: (plaintext: string | null) => void }) {
  const [isMaking, setMaking] = useState(false);
  const [made, setMade] = useState<NewToken | null>(null);
  const [revoked, setRevoked] = useState<Token | null>(null);
  return (
    <section class="panel" aria-label="Tokens">
      <h2>Tokens</h2>
      {made && <Made made={made} />}
      {project.tokens.length === 0 ? (
        <Nothing>Without a token nothing can send events to this project.</Nothing>
      ) : (
        <Table
          caption="Tokens of the project"
          rows={project.tokens}
          keyOf={({ id }) => id}
          columns={[
            { title: 'Name', cell: ({ name }) => name ?? '–' },
            { title: 'May', cell: ({ kind }) => (kind === 'secret' ? 'send and read (secret)' : 'send (public)') },
            { title: 'Created (UTC)', cell: ({ createdAt }) => moment(createdAt) },
            {
              title: 'Last used (UTC)',
              cell: ({ lastUsedAt }) => (lastUsedAt === null ? 'never' : moment(lastUsedAt)),
            },
            {
              title: 'State',
              cell: ({ revokedAt }) =>
                revokedAt === null ? <Status tone="good">active</Status> : <Status tone="calm">revoked</Status>,
            },
            {
              title: 'Change',
              cell: (token) =>
                token.revokedAt === null &&
                mayChange() && (
                  <button type="button" class="small" onClick={() => setRevoked(token)}>
                    Revoke<span class="unseen"> {token.name ?? token.id}</span> …
                  </button>
                ),
            },
          ]}
        />
      )}
      {project.moreTokens && <p class="quiet">These are the oldest; `weir token list` has all of them.</p>}
      {mayChange() && (
        <div class="buttons">
          <button type="button" onClick={() => setMaking(true)}>
            New token …
          </button>
        </div>
      )}
      {isMaking && (
        <Make
          project={project}
          close={() => setMaking(false)}
          done={(token) => {
            setMade(token);
            changed(token.token ?? null);
          }}
        />
      )}
      {revoked && (
        <Confirm
          title={`Revoke ${revoked.name ?? revoked.id}?`}
          act="Revoke"
          run={() => remove(`/tokens/${encodeURIComponent(revoked.id)}`).then(() => changed(null))}
          close={() => setRevoked(null)}
          isDangerous
        >
          <p>Within a minute it stops working, for good. Who still sends with it gets 401.</p>
        </Confirm>
      )}
    </section>
  );
}

function Made({ made: { token, isGuessable } }: { made: NewToken }) {
  if (token !== undefined) {
    return (
      <div role="status">
        <p>
          <b>The new token. It is shown this once: Weir keeps only a hash of it.</b>
        </p>
        <Copyable text={token} what="token" />
      </div>
    );
  }
  return (
    <p role="status">
      <b>The key is a token of this project now.</b> Clients that send it are let in.
      {isGuessable &&
        ' It is short: whoever guesses it may do what it may. Replace it with a token that is made here when you can.'}
    </p>
  );
}

const KINDS = [
  { value: 'public', text: 'send events (public: for pages and apps)' },
  { value: 'secret', text: 'send and read events (secret: for servers)' },
];

function Make({
  project,
  close,
  done,
}: {
  project: ProjectDetails;
  close: () => void;
  done: (token: NewToken) => void;
}) {
  const [name, setName] = useState('');
  const [kind, setKind] = useState('public');
  const [key, setKey] = useState('');
  const imported = key.trim();
  const make = async () => {
    const wanted = {
      kind,
      name: name.trim() === '' ? null : name.trim(),
      ...(imported !== '' && { import: imported }),
    };
    done(await post<NewToken>(`/projects/${encodeURIComponent(project.id)}/tokens`, wanted));
  };
  return (
    <Confirm title="New token" act={imported === '' ? 'Make token' : 'Import key'} run={make} close={close}>
      <Field label="Name" value={name} change={setName} hint="For people, such as website." />
      <Choice label="It may" value={kind} options={KINDS} change={setKind} />
      <Field
        label="A key to import"
        value={key}
        change={setKey}
        hint="A key of another service that clients send already; empty makes a new token."
        isSecret
        autocomplete="off"
      />
    </Confirm>
  );
}
