import { type Answer, responseObject, usedBy } from './answer.ts'
import { isObject } from './asked.ts'
import type { Call } from './create.ts'
import { frame } from './events.ts'
import { newLine, type OpenLine } from './invoice.ts'
import { tokensShown } from './output.ts'
import type { Parts } from './parts.ts'
import { type Event, playAnswer } from './play.ts'
import { breakOff, holdsOf, type Play, put, type Run } from './run.ts'
import { isBroken, type Script } from './script.ts'
import { endStream, sendBody, sendStreamHead } from './send.ts'
import { reportUsage } from './usage.ts'

/** A response that is made whoever listens. */
export interface Background {
  /** All that were made so far, each at the place of its sequence number. */
  readonly events: readonly Event[]
  readonly isOver: boolean
  /** Ends it, unless it has ended; resolves when it has. */
  cancel(): Promise<void>
}

/** Starts the response, and tells the client that it stands in the queue, or of all its events. */
export async function createInBackground(run: Run, made: Answer, call: Call, parts: Parts): Promise<void> {
  const { line, script } = run
  const queued = queuedResponse(made)
  const background = start(run, made, call, parts)
  // The line belongs to the response: what happens to this connection ends its own part only.
  const told: OpenLine = newLine(call.key, line.modelAsked, line.stream)
  const teller: Run = {
    ...run,
    script: tellingScript(script),
    line: told,
    get over() {
      return run.over
    },
    set over(isOver) {
      run.over = isOver
    },
  }
  try {
    if (made.asked.stream) await follow(teller, background, -1, parts)
    else await sendBody(teller, { status: script.status ?? 200, body: JSON.stringify(queued) })
  } catch (error) {
    if (!run.left.aborted) throw error // The client left; the response goes on.
  } finally {
    Object.assign(line, { status: told.status, answered: told.answered })
  }
}

/** Sends the events behind that number, and those to come. Throws when the client leaves. */
export async function follow(run: Run, background: Background, after: number, parts: Parts): Promise<void> {
  const { script } = run
  if (!(await sendStreamHead(run))) return
  const end = script.end ?? 'completed'
  const endAt = isBroken(end) ? (script.afterEvents ?? Number.POSITIVE_INFINITY) : Number.POSITIVE_INFINITY
  const bytesMax = isBroken(end) ? script.afterBytes : undefined
  const { events } = background
  for (let next = after + 1; next < endAt; next += 1) {
    await parts.watch.when(() => events.length > next || background.isOver || run.left.aborted)
    run.left.throwIfAborted()
    const event = events[next]
    if (event === undefined) break
    if (!(await put(run, frame(event, next, script), bytesMax))) return await breakOff(run, end)
  }
  if (isBroken(end)) return await breakOff(run, end)
  await endStream(run)
}

/** Of the script, what happens to the connection; the rest happens to the response. */
function tellingScript(script: Script): Script {
  const { firstEventAfterMs: _, hold: __, ...rest } = script
  return { ...rest, hold: holdsOf(script).filter(({ at = 'headers' }) => at === 'headers') }
}

/** Of the script, what happens to the response: a connection cannot break off what does not need it. */
function makingScript(script: Script): Script {
  if (script.errorFirst === true) return { ...script, errorFirst: false, end: 'failed', afterEvents: 0 }
  if (script.end === 'error') return { ...script, end: 'failed' }
  return isBroken(script.end ?? 'completed') ? { ...script, end: 'completed' } : script
}

/** Why a response in the background ends early. */
const cancelled = new Error('the response was cancelled')

function start(run: Run, planned: Answer, { key }: Call, parts: Parts): Background {
  const { memory, watch, running } = parts
  const script = makingScript(run.script)
  const made: Answer = { ...planned, script }
  const making = new AbortController()
  const events: Event[] = []
  let isOver = false
  let now = queuedResponse(made)
  run.keep?.(now)
  const play: Play = {
    ...{ script, line: run.line, charge: run.charge, gate: run.gate, left: making.signal, shown: { part: 0, chars: 0 }, begun: false },
    keep(response) {
      now = response
      if (memory.responses.find(key, made.id) !== undefined) run.keep?.(response) // It may have been deleted.
    },
  }
  const show = async (event: Event) => {
    events.push(event)
    if (event.type === 'response.in_progress' && isObject(event.response)) now = event.response
    watch.changed()
    return true
  }
  running.add(making)
  const done = playAnswer(play, made, { show, breakOff: async () => {} })
    .catch(error => endEarly(error, play, made))
    .finally(() => {
      isOver = true
      running.delete(making)
      watch.changed()
    })
  const background: Background = {
    events,
    get isOver() {
      return isOver
    },
    async cancel() {
      making.abort(cancelled)
      watch.changed()
      await done
    },
  }
  const stored = memory.responses.find(key, made.id)
  if (stored !== undefined) memory.responses.put(key, made.id, { ...stored, response: () => now, background })
  return background
}

function queuedResponse(made: Answer): Record<string, unknown> {
  return responseObject(made, { status: 'queued', items: [], usage: null, webSearches: 0 })
}

/** Cancelled, what had been made is owed and reported, though no event tells of it; else the whole upstream is being closed. */
function endEarly(error: unknown, play: Play, made: Answer): void {
  if (!play.left.aborted) throw error
  if (play.left.reason !== cancelled) return void Object.assign(play.line, { ended: 'left', cut: true })
  const used = usedBy(made.used.inputTokens, made.script, tokensShown(made.output, play.shown))
  const { wire, charged } = reportUsage(used, made.script.usage)
  if (play.begun) play.charge(play.line, charged)
  Object.assign(play.line, { ended: 'cancelled', cut: true, usageReported: play.begun && wire !== undefined })
  play.keep?.(responseObject(made, { status: 'cancelled', items: [], usage: play.begun ? wire : null, webSearches: 0 }))
}
