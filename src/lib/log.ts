import { pino } from 'pino'

/** Structured logs, one line a call. Never secrets, keys or prompts. */
export type Log = Pick<pino.Logger, 'debug' | 'info' | 'warn' | 'error' | 'fatal'>

/** Lines are collected up to this size, and written at once on the way out: a line a call must not cost a write a call. */
const bufferBytes = 4096
const flushEveryMs = 1000
const stderr = 2

/** Writes to standard error; what is meant for a person goes to standard output. */
export function openLog(level: string, destination: pino.DestinationStream = newDestination()): Log {
  return pino(
    {
      level,
      // An error of an upstream or an engine may quote what it was given: what identifies a secret is cut out.
      serializers: { err: error => withoutSecrets(pino.stdSerializers.err(error)) },
      base: null,
    },
    destination,
  )
}

export const silentLog: Log = pino({ level: 'silent' })

function newDestination(): pino.DestinationStream {
  const destination = pino.destination({ dest: stderr, sync: false, minLength: bufferBytes })
  setInterval(() => destination.flush(), flushEveryMs).unref()
  return destination
}

/** Anything that looks like a key of ours, an OpenAI key, or a bearer token. */
const secretLike = /\b(sk-[A-Za-z0-9_-]{8,}|Bearer\s+\S+)/g

function withoutSecrets(error: pino.SerializedError): pino.SerializedError {
  for (const name of ['message', 'stack'] as const) {
    if (typeof error[name] === 'string') error[name] = error[name].replace(secretLike, '[secret]')
  }
  return error
}
