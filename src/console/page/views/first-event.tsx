/** How to send a first event, and a look at it when it comes. */
import { useEffect, useState } from 'preact/hooks';
import { session } from '../parts/api.ts';
import { Status } from '../parts/feedback.tsx';
import { Copyable } from '../parts/form.tsx';
import { goTo } from '../parts/route.ts';
import { openLive } from '../parts/live.ts';
import { instant } from '../parts/words.ts';
import type { ProjectDetails } from '../../operator/answers.ts';
import type { LiveEvent } from '../../watch/answers.ts';

const PLACEHOLDER = 'TOKEN';

/** `token`: one that was made just now; null leaves a place for one. */
export function FirstEvent({ project, token }: { project: ProjectDetails; token: string | null }) {
  const [isWaiting, setWaiting] = useState(false);
  const [seen, setSeen] = useState<LiveEvent | null>(null);
  /** Why it cannot be waited for; null while it can. */
  const [ended, setEnded] = useState<string | null>(null);
  useEffect(() => {
    if (!isWaiting) return;
    return openLive(
      { project: project.id },
      {
        onBatch: ({ events: [event] }) => {
          if (event === undefined) return;
          setSeen(event);
          setWaiting(false);
        },
        onEnd: (why) => {
          setEnded(why);
          setWaiting(false);
        },
      },
    );
  }, [isWaiting, project.id]);

  const url = session.value?.service.url ?? '';
  return (
    <section class="panel" aria-label="Send an event">
      <h2>Send an event</h2>
      {token === null && (
        <p class="quiet">Put a token in the place of {PLACEHOLDER}. A new one is put there by itself.</p>
      )}
      <Copyable text={curl(url, token ?? PLACEHOLDER)} what="curl line" />
      <Copyable text={snippet(url, token ?? PLACEHOLDER)} what="snippet for a page" />
      <div class="line">
        <button
          type="button"
          disabled={isWaiting}
          onClick={() => {
            setSeen(null);
            setEnded(null);
            setWaiting(true);
          }}
        >
          Wait for an event
        </button>
        <span role="status">
          {isWaiting && <Status tone="calm">waiting for the next event of this project …</Status>}
          {ended !== null && <Status tone="warn">{ended}</Status>}
          {seen !== null && (
            <>
              <Status tone="good">here it is:</Status> <b>{seen.event}</b> at {instant(seen.at)} UTC{' '}
            </>
          )}
        </span>
        {seen !== null && (
          <button type="button" onClick={() => goTo(['find'], { id: seen.id, project: project.id })}>
            Where is it now?
          </button>
        )}
      </div>
    </section>
  );
}

const curl = (url: string, token: string) =>
  `curl ${url}/api/v1/ingest/events \\
  -H 'Authorization: Bearer ${token}' \\
  -d '{"events":[{"event":"signed_up","timestamp":'"$(date +%s)"',"user_id":"u1","properties":{"plan":"free"}}]}'`;

const snippet = (url: string, token: string) =>
  `const timestamp = new Date;
await fetch('${url}/api/v1/ingest/events', {
  method: 'POST',
  headers: { Authorization: 'Bearer ${token}' },
  body: JSON.stringify({ events: [{ event: 'signed_up', timestamp, user_id: 'u1', properties: { plan: 'free' } }] }),
});`;
