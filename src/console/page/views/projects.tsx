/** The projects, and making one. */
import { useState } from 'preact/hooks';
import { get, post } from '../parts/api.ts';
import { Confirm } from '../parts/dialog.tsx';
import { Nothing, Problem, Waiting } from '../parts/feedback.tsx';
import { Field } from '../parts/form.tsx';
import { useLoaded } from '../parts/load.ts';
import { goTo, linkTo } from '../parts/route.ts';
import { mayChange } from '../parts/session.ts';
import { Pager, Table, usePages } from '../parts/table.tsx';
import { moment } from '../parts/words.ts';
import type { Project, ProjectPage } from '../../operator/answers.ts';
import { ProjectView } from './project.tsx';

const PAGE = 50;

export function Projects({ path: [id] }: { path: readonly string[] }) {
  return id === undefined ? <List /> : <ProjectView id={id} />;
}

function List() {
  const pages = usePages();
  const [isCreating, setCreating] = useState(false);
  const { value, error, reload } = useLoaded(`projects ${pages.after}`, (signal) =>
    get<ProjectPage>('/projects', { limit: PAGE, after: pages.after }, { signal }),
  );
  return (
    <>
      <h1>Projects</h1>
      {mayChange() && (
        <div class="buttons">
          <button type="button" class="chief" onClick={() => setCreating(true)}>
            New project …
          </button>
        </div>
      )}
      <Problem error={error} retry={reload} />
      {value === null && error === null && <Waiting what="Listing …" />}
      {value?.projects.length === 0 && <Nothing>There is no project yet. Every event belongs to one.</Nothing>}
      {value !== null && value.projects.length > 0 && (
        <Table
          caption="Projects"
          rows={value.projects}
          keyOf={({ id }) => id}
          columns={[
            { title: 'Name', cell: ({ id, name }) => <a href={linkTo(['projects', id])}>{name}</a> },
            { title: 'Id', cell: ({ id }) => <code>{id}</code> },
            { title: 'Events are kept', cell: ({ retention }) => (retention === 'none' ? 'forever' : retention) },
            {
              title: 'Browser origins',
              cell: ({ allowedOrigins }) => (allowedOrigins.length === 0 ? 'any' : allowedOrigins.join(' ')),
            },
            { title: 'Created (UTC)', cell: ({ createdAt }) => moment(createdAt) },
          ]}
        />
      )}
      {value && <Pager pages={pages} next={value.next} what="projects" />}
      {isCreating && <Create close={() => setCreating(false)} />}
    </>
  );
}

function Create({ close }: { close: () => void }) {
  const [name, setName] = useState('');
  const create = async () => {
    const { id } = await post<Project>('/projects', { name });
    goTo(['projects', id]);
  };
  return (
    <Confirm title="New project" act="Create" run={create} close={close} isBlocked={name.trim() === ''}>
      <Field label="Name" value={name} change={setName} hint="For people; it may be anything." required />
    </Confirm>
  );
}
