/** SQL over one project's events. */
import { useState } from 'preact/hooks';
import { ApiError, get, post } from '../parts/api.ts';
import { Nothing, Problem, Waiting } from '../parts/feedback.tsx';
import { Choice } from '../parts/form.tsx';
import { useLoaded } from '../parts/load.ts';
import { goTo } from '../parts/route.ts';
import { bytes, grouped } from '../parts/words.ts';
import type { Cookbook as CookbookAnswer, ProjectPage, ProjectSchema, QueryAnswer } from '../../operator/answers.ts';
import { Answered } from './ask-answer.tsx';
import { FIRST_QUESTION } from './first-question.ts';
import { SqlEditor } from './sql-editor.tsx';

export function Ask({ path: [id] }: { path: readonly string[] }) {
  const { value, error, reload } = useLoaded('projects', (signal) =>
    get<ProjectPage>('/projects', { limit: 500 }, { signal }),
  );
  const project = id ?? value?.projects[0]?.id;
  return (
    <>
      <h1>Ask</h1>
      <Problem error={error} retry={reload} />
      {value === null && error === null && <Waiting what="Looking for projects …" />}
      {value?.projects.length === 0 && <Nothing>There is no project yet, and so there is nothing to ask.</Nothing>}
      {value !== null && project !== undefined && (
        <>
          <Choice
            label="Project"
            value={project}
            options={value.projects.map(({ id, name }) => ({ value: id, text: name }))}
            change={(id) => goTo(['ask', id])}
          />
          <Question key={project} project={project} />
        </>
      )}
    </>
  );
}

function Question({ project }: { project: string }) {
  const path = `/projects/${encodeURIComponent(project)}`;
  const schema = useLoaded(`schema ${project}`, (signal) => get<ProjectSchema>(`${path}/schema`, {}, { signal }));
  const [sql, setSql] = useState(FIRST_QUESTION);
  const { answer, error, isAsking, ask, stop } = useQuery(`${path}/query`);
  return (
    <>
      <Problem error={schema.error} retry={schema.reload} />
      <Cookbook use={setSql} />
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void ask(sql);
        }}
      >
        <SqlEditor value={sql} change={setSql} submit={() => void ask(sql)} schema={schema.value} />
        <div class="buttons">
          <button type="submit" class="chief" disabled={isAsking}>
            Ask
          </button>
          <button type="button" disabled={!isAsking} onClick={stop}>
            Stop
          </button>
        </div>
      </form>
      {schema.value && <Limits limits={schema.value.limits} />}
      {isAsking && <Waiting what="Asking …" />}
      <Problem error={error} />
      {answer !== null && !isAsking && <Answered answer={answer} />}
      {schema.value && <Tables schema={schema.value} />}
    </>
  );
}

function useQuery(path: string) {
  const [answer, setAnswer] = useState<QueryAnswer | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const [asking, setAsking] = useState<AbortController | null>(null);
  const ask = async (sql: string) => {
    const asked = new AbortController();
    setAsking(asked);
    setError(null);
    setAnswer(null);
    try {
      setAnswer(await post<QueryAnswer>(path, { sql }, { signal: asked.signal }));
    } catch (thrown) {
      // A connection that is cut in the middle of an answer is no JSON.
      const isKnown = thrown instanceof ApiError;
      if (!asked.signal.aborted) setError(isKnown ? thrown : new ApiError(0, 'cut_off', CUT_OFF));
    }
    setAsking(null);
  };
  return { answer, error, isAsking: asking !== null, ask, stop: () => asking?.abort() };
}

const CUT_OFF = 'The answer was cut off: the question ran into a limit, or the store went away. Ask for less.';

function Cookbook({ use }: { use: (sql: string) => void }) {
  const { value } = useLoaded('cookbook', (signal) => get<CookbookAnswer>('/cookbook', {}, { signal }));
  if (value === null) return null;
  const options = value.recipes.map(({ title, chapter }, place) => ({
    value: String(place),
    text: `${chapter}: ${title}`,
  }));
  return (
    <Choice
      label="Questions that people ask"
      value=""
      options={[{ value: '', text: 'choose one …' }, ...options]}
      change={(place) => use(value.recipes[Number(place)]?.sql ?? '')}
    />
  );
}

function Limits({ limits }: { limits: ProjectSchema['limits'] }) {
  return (
    <p class="quiet">
      A question may take {grouped(limits.seconds)} s, answer {grouped(limits.rows)} rows or{' '}
      {bytes(limits.result_bytes)}, and be {bytes(limits.sql_bytes)} long; {grouped(limits.queries_at_once)} run at
      once. It reads this project’s events and nothing else. Press Ctrl and Enter to ask.
    </p>
  );
}

function Tables({ schema }: { schema: ProjectSchema }) {
  return (
    <section class="panel" aria-label="Schema">
      <h2>What there is to ask</h2>
      {schema.tables.map(({ name, comment, columns }) => (
        <details key={name}>
          <summary>
            <code>{name}</code> <span class="quiet">{comment}</span>
          </summary>
          <dl class="facts">
            {columns.map((column) => [
              <dt key={`${column.name} name`}>
                <code>{column.name}</code>
              </dt>,
              <dd key={`${column.name} type`}>
                <code>{column.type}</code> <span class="quiet">{column.comment}</span>
              </dd>,
            ])}
          </dl>
        </details>
      ))}
    </section>
  );
}
