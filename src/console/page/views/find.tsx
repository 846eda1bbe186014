/** Where is my event? */
import { useState } from 'preact/hooks';
import type { FindAnswer, LookedThrough } from '../../watch/answers.ts';
import { get } from '../parts/api.ts';
import { Nothing, Problem, Waiting } from '../parts/feedback.tsx';
import { Choice, Field } from '../parts/form.tsx';
import { useLoaded } from '../parts/load.ts';
import { goTo, route } from '../parts/route.ts';
import { counted, instant } from '../parts/words.ts';
import { whereItIsNot } from './find-words.ts';
import { Found, isSettled } from './found-event.tsx';

const EVERY_MS = 3_000;
const BY = [
  { value: 'id', text: 'the event’s id' },
  { value: 'requestId', text: 'the request’s id (X-Request-Id)' },
  { value: 'user', text: 'the user (distinct_id)' },
];

export function Find() {
  const { query } = route.value;
  const by = BY.find(({ value }) => query.has(value))?.value ?? 'id';
  const text = query.get(by) ?? '';
  const project = query.get('project') ?? '';
  const key = JSON.stringify([by, text, project]);
  return (
    <>
      <h1>Where is my event?</h1>
      <Question key={key} by={by} text={text} project={project} />
      {text !== '' && <Answer key={`answer ${key}`} by={by} text={text} project={project} />}
    </>
  );
}

type Asked = { readonly by: string; readonly text: string; readonly project: string };

function Question({ by: givenBy, text: givenText, project: givenProject }: Asked) {
  const [by, setBy] = useState(givenBy);
  const [text, setText] = useState(givenText);
  const [project, setProject] = useState(givenProject);
  const submit = (event: Event) => {
    event.preventDefault();
    goTo(['find'], { [by]: text.trim(), ...(project === '' ? {} : { project }) });
  };
  return (
    <form class="line" onSubmit={submit}>
      <Choice label="Look by" value={by} options={BY} change={setBy} />
      <Field label="What to look for" value={text} change={setText} required />
      <Field label="Project id" value={project} change={(value) => setProject(value.trim())} />
      <button type="submit" class="chief">
        Look
      </button>
    </form>
  );
}

function Answer({ by, text, project }: Asked) {
  const [isDone, setDone] = useState(false);
  const { value, error, reload } = useLoaded(
    `${by} ${text} ${project}`,
    async (signal) => {
      const found = await get<FindAnswer>('/events/find', { [by]: text, project }, { signal });
      // Looking reads a lot: not for what does not change any more.
      setDone(found.events.length > 0 && found.events.every(isSettled));
      return found;
    },
    { everyMs: isDone ? null : EVERY_MS },
  );
  if (value === null) return error === null ? <Waiting what="Looking …" /> : <Problem error={error} retry={reload} />;
  const { events, requests, looked } = value;
  const partly = Object.entries(looked).filter(([, how]) => how !== 'all');
  return (
    <>
      <Problem error={error} />
      {requests.map(({ requestId, receivedAt, accepted, rejected, isRefused }) => (
        <p key={`${requestId} ${receivedAt}`}>
          The request came at {instant(receivedAt)} UTC:{' '}
          {isRefused
            ? 'it was refused as a whole, which its sender was told.'
            : `${counted(accepted, 'event')} accepted, ${rejected} rejected.`}
        </p>
      ))}
      <div aria-live="polite">
        {events.length === 0 && <Nothing>{whereItIsNot(by, value)}</Nothing>}
        {events.map((event, place) => (
          <Found key={`${event.id} ${place}`} event={event} />
        ))}
      </div>
      {partly.length > 0 && (
        <p class="quiet">
          Not looked through entirely:{' '}
          {partly.map(([place, how]) => `${PLACES[place] ?? place} (${HOW[how]})`).join(', ')}. Give the project’s id,
          or a more exact question.
        </p>
      )}
    </>
  );
}

const HOW: Readonly<Record<LookedThrough, string>> = {
  all: 'entirely',
  'a part': 'only a part',
  'not asked': 'not asked',
  unavailable: 'does not answer',
};

const PLACES: Readonly<Record<string, string>> = {
  pending: 'what is pending',
  store: 'the event store',
  letters: 'the dead letters',
  rejected: 'the rejected events',
};
