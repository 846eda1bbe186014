/** Who are you? */
import { useState } from 'preact/hooks';
import type { ApiError } from './parts/api.ts';
import { Problem } from './parts/feedback.tsx';
import { Field } from './parts/form.tsx';
import { linkTrouble, signIn } from './parts/session.ts';

export function SignIn() {
  const [name, setName] = useState('');
  const [password, setPassword] = useState('');
  const [isAsking, setAsking] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  const submit = async (event: Event) => {
    event.preventDefault();
    setAsking(true);
    setError(null);
    await signIn({ name, password }).catch((thrown: ApiError) => setError(thrown));
    setAsking(false);
  };
  return (
    <main class="sign-in">
      <h1>Sign in to Weir</h1>
      <Problem error={error ?? linkTrouble.value} />
      <form class="panel" onSubmit={(event) => void submit(event)}>
        <Field label="Name" name="username" autocomplete="username" value={name} change={setName} required />
        <Field
          label="Password"
          isSecret
          name="password"
          autocomplete="current-password"
          value={password}
          change={setPassword}
          required
        />
        <button type="submit" class="chief" disabled={isAsking}>
          Sign in
        </button>
      </form>
      <p class="quiet">
        No account? Whoever has a shell beside Weir gets a link that works once: <code>weir console link</code>.
        Accounts are made with <code>weir operator add</code>.
      </p>
    </main>
  );
}
