/** What is on every page: where one can go, who one is, whether events come in and dead letters go out. */
import { useState } from 'preact/hooks';
import { type ApiError, session } from './parts/api.ts';
import { Problem } from './parts/feedback.tsx';
import { goTo, linkTo } from './parts/route.ts';
import { signOut } from './parts/session.ts';
import { PAGES } from './pages.tsx';
import { Switches } from './switches.tsx';

export function Header({ current }: { current: string }) {
  const who = session.value;
  const [trouble, setTrouble] = useState<ApiError | null>(null);
  return (
    <header class="top">
      <div class="row">
        <span class="brand">
          Weir <span class="quiet">{who?.service.version}</span>
        </span>
        <nav aria-label="Pages">
          <ul>
            {PAGES.map(({ path, title }) => (
              <li key={path}>
                <a href={linkTo([path])} aria-current={path === current ? 'page' : undefined}>
                  {title}
                </a>
              </li>
            ))}
          </ul>
        </nav>
        <FindBox />
        <div class="end">
          <span>
            {who?.name} <span class="quiet">({who?.role})</span>
          </span>
          <button type="button" class="small" onClick={() => void signOut().then(() => setTrouble(null), setTrouble)}>
            Sign out
          </button>
        </div>
      </div>
      <Problem error={trouble} />
      <div class="row switches">
        <Switches />
      </div>
    </header>
  );
}

function FindBox() {
  const [text, setText] = useState('');
  const submit = (event: Event) => {
    event.preventDefault();
    if (text.trim() !== '') goTo(['find'], { id: text.trim() });
  };
  return (
    <form class="search" role="search" onSubmit={submit}>
      <input
        type="search"
        aria-label="Find an event by its id"
        placeholder="Event id …"
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
      />
      <button type="submit">Find</button>
    </form>
  );
}
