/** The page as a whole: nobody, or somebody who is signed in, and the page they are on. */
import { useEffect, useRef } from 'preact/hooks';
import { session } from './parts/api.ts';
import { Nothing, Waiting } from './parts/feedback.tsx';
import { onLink, route } from './parts/route.ts';
import { beginSession } from './parts/session.ts';
import { Header } from './header.tsx';
import { PAGES } from './pages.tsx';
import { SignIn } from './sign-in.tsx';

export function App() {
  useEffect(() => {
    void beginSession();
    return onLink(() => void beginSession());
  }, []);
  if (session.value === undefined) return <Waiting what="Signing in …" />;
  if (session.value === null) return <SignIn />;
  return <SignedIn />;
}

function SignedIn() {
  const { path } = route.value;
  const [name = 'now', ...rest] = path;
  const page = PAGES.find((page) => page.path === name);
  const main = useRef<HTMLElement>(null);
  const address = path.join('/');
  const isFirst = useRef(true);
  // Whoever reads by ear or keyboard goes on with the new page, not behind the link that led there.
  useEffect(() => {
    document.title = `${page?.title ?? 'No such page'} · Weir`;
    if (!isFirst.current) main.current?.focus();
    isFirst.current = false;
  }, [address]);
  return (
    <>
      <a class="skip" href="#content" onClick={(event) => (event.preventDefault(), main.current?.focus())}>
        Skip to the page
      </a>
      <Header current={name} />
      <main id="content" ref={main} tabIndex={-1}>
        {page ? <page.View key={address} path={rest} /> : <Nothing>There is no page of this name.</Nothing>}
      </main>
    </>
  );
}
