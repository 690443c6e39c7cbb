import type { ServerResponse } from 'node:http'
import { newLine, type OpenLine } from './invoice.ts'
import { departed, type Parts } from './parts.ts'
import type { Run } from './run.ts'
import type { Script } from './script.ts'

/** A request that was read whole, and where its answer goes. */
export interface Exchange {
  readonly key: string
  /** With its query string. */
  readonly path: string
  readonly body: Buffer
  readonly res: ServerResponse
}

/** What is known of a request before it is answered. */
export interface Beginning {
  readonly script: Script
  readonly line: OpenLine
  readonly suffix: string
}

/** Has a request answered, and knows until then that it is under way. */
export async function answer(
  { res }: Exchange,
  { script, line, suffix }: Beginning,
  parts: Parts,
  act: (run: Run) => Promise<void>,
): Promise<void> {
  const leaving = new AbortController()
  line.requestId = `req_${suffix}`
  const run: Run = {
    script,
    res,
    line,
    charge: parts.charge,
    gate: parts.gates,
    left: leaving.signal,
    requestId: `req_${suffix}`,
    shown: { part: 0, chars: 0 },
    begun: false,
    bytesSent: 0,
    over: false,
  }
  parts.running.add(leaving)
  heedLeaving(run, leaving, parts)
  try {
    await act(run)
  } catch (error) {
    if (!leaving.signal.aborted) throw error // Nothing is expected here but that the client left.
    if (line.ended === 'running') Object.assign(line, { ended: 'left', cut: true })
  } finally {
    parts.running.delete(leaving)
    parts.watch.changed()
  }
}

/** The same for a request that costs nothing: its line stands on no invoice. */
export function answerFreely(exchange: Exchange, script: Script, parts: Parts, act: (run: Run) => Promise<void>): Promise<void> {
  return answer(exchange, { script, line: newLine(exchange.key, '', false), suffix: parts.nextSuffix() }, parts, act)
}

function heedLeaving(run: Run, leaving: AbortController, parts: Parts): void {
  const closed = () => {
    if (!run.over && !parts.isClosing) {
      run.line.clientLeft = true
      parts.gone += 1
    }
    if (parts.running.has(leaving)) leaving.abort(departed)
    parts.watch.changed()
  }
  run.res.on('error', () => {}) // A write that came too late; the closing of the connection says the same.
  if (run.res.destroyed) closed()
  else run.res.once('close', closed)
}
