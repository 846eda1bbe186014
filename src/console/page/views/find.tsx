/** Where is my event? */
import { useState } from 'preact/hooks';
import { get } from '../parts/api.ts';
import { Nothing, Problem, Status, type Tone, Waiting } from '../parts/feedback.tsx';
import { Choice, Field } from '../parts/form.tsx';
import { useLoaded } from '../parts/load.ts';
import { goTo, linkTo, route } from '../parts/route.ts';
import { instant } from '../parts/words.ts';
import type { FindAnswer, FoundEvent } from '../parts/expected.ts';

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
  return (
    <>
      <h1>Where is my event?</h1>
      <Question key={`${by} ${text} ${project}`} by={by} text={text} project={project} />
      {text !== '' && <Answer by={by} text={text} project={project} />}
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
    const of: Record<string, string> = project === '' ? {} : { project };
    goTo(['find'], { [by]: text.trim(), ...of });
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
  const { value, error, reload } = useLoaded(
    JSON.stringify([by, text, project]),
    (signal) => get<FindAnswer>('/events/find', { [by]: text, project }, { signal }),
    { everyMs: EVERY_MS },
  );
  if (value === null) return error === null ? <Waiting what="Looking …" /> : <Problem error={error} retry={reload} />;
  return (
    <>
      <Problem error={error} />
      {value.events.length === 0 && (
        <Nothing>
          It is nowhere: not stored, not pending, no dead letter, not among the rejected events that are kept. Either it
          was never accepted, or it expired, or it was discarded.
        </Nothing>
      )}
      {value.events.map((event, place) => (
        <Found key={`${event.id} ${place}`} event={event} />
      ))}
    </>
  );
}

const TONES: Readonly<Record<string, Tone>> = { stored: 'good', pending: 'calm', letter: 'warn', rejected: 'bad' };

function Found({ event }: { event: FoundEvent }) {
  return (
    <article class="panel" aria-label={`Event ${event.id ?? ''}`}>
      <p>
        <Status tone={TONES[event.stage] ?? 'calm'}>{event.stage}</Status> <b>{event.event}</b> <code>{event.id}</code>
      </p>
      <ol class="way">
        {event.steps.map(({ step, at }) => (
          <li key={step}>
            {step} <span class="quiet">{at === null ? '' : `${instant(at)} UTC`}</span>
          </li>
        ))}
      </ol>
      {event.letterId && <a href={linkTo(['letters', 'letter', event.letterId])}>Why it was not taken</a>}
      {event.rejectionId && <a href={linkTo(['rejected', event.rejectionId])}>Why it was rejected</a>}
    </article>
  );
}
