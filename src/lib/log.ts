import { pino } from 'pino'

/** Structured logs, one line a call. Never secrets, keys or prompts. */
export interface Log extends Pick<pino.Logger, 'debug' | 'info' | 'warn' | 'error' | 'fatal'> {
  /**
   * The one line of every call, as `info(fields, 'call')` writes it. Plain values are all it takes, so it needs none of what pino does for
   * others, which goes through every value letter by letter: 4 µs a line there, 1.6 here.
   */
  call(fields: CallFields): void
}

/** Never empty, and nothing in it has to be looked into. */
export type CallFields = { readonly call: string } & Readonly<Record<string, string | number | boolean | null | undefined>>

/** Lines are collected up to this size, and written at once on the way out: a line a call must not cost a write a call. */
const bufferChars = 16_384
const flushEveryMs = 1000

/** The second that was told last, and its text but for the milliseconds. */
let told = { second: Number.NaN, text: '' }

/** Writes to standard error; what is meant for a person goes to standard output. */
export function openLog(level: string, destination: pino.DestinationStream = newDestination()): Log {
  const log = pino(
    {
      level,
      // An error of an upstream or an engine may quote what it was given: what identifies a secret is cut out.
      serializers: { err: error => withoutSecrets(withoutStackIfAway(pino.stdSerializers.err(error))) },
      base: null,
      // For people: `docker logs` is read at night.
      timestamp: () => `,"time":"${isoNow()}"`,
      formatters: { level: label => ({ level: label }) },
    },
    destination,
  )
  const call = (fields: CallFields) => {
    destination.write(`{"level":"info","time":"${isoNow()}",${JSON.stringify(fields).slice(1, -1)},"msg":"call"}\n`)
  }
  return Object.assign(log, { call: log.isLevelEnabled('info') ? call : () => undefined })
}

export const silentLog: Log = openLog('silent', { write: () => undefined })

/** RFC 3339 in UTC, with milliseconds. The calendar is asked once a second, because lines are many. */
function isoNow(): string {
  const nowMs = Date.now()
  const second = Math.floor(nowMs / 1000)
  if (second !== told.second) told = { second, text: new Date(nowMs).toISOString().slice(0, -'000Z'.length) }
  return `${told.text}${String(nowMs - second * 1000).padStart(3, '0')}Z`
}

/**
 * Standard error, in larger pieces. By hand, because pino's own destination tries for ever to write what is left to a pipe that
 * nobody reads any more, and so keeps the program from ending.
 */
function newDestination(): pino.DestinationStream {
  let waiting = ''
  const flush = () => {
    if (waiting !== '') process.stderr.write(waiting)
    waiting = ''
  }
  setInterval(flush, flushEveryMs).unref()
  process.on('exit', flush)
  return {
    write(line) {
      waiting += line
      if (waiting.length >= bufferChars) flush()
    },
  }
}

/** `DatabaseAway`, `RedisAway`: an engine does not answer. Where in our code that was noticed helps nobody, and looks like a bug of ours. */
function withoutStackIfAway({ stack, ...error }: pino.SerializedError): pino.SerializedError {
  return error.type.endsWith('Away') ? (error as pino.SerializedError) : { ...error, stack }
}

/** Anything that looks like a key of ours, an OpenAI key, or a bearer token. */
const secretLike = /\b(sk-[A-Za-z0-9_-]{8,}|Bearer\s+\S+)/g

function withoutSecrets(error: pino.SerializedError): pino.SerializedError {
  for (const name of ['message', 'stack'] as const) {
    if (typeof error[name] === 'string') error[name] = error[name].replace(secretLike, '[secret]')
  }
  return error
}
