/** Where the page begins. */
import { render } from 'preact';
import 'uplot/dist/uPlot.min.css';
import './style/tokens.css';
import './style/shell.css';
import './style/parts.css';
import './style/controls.css';
import { App } from './app.tsx';

render(<App />, document.querySelector('#root')!);
