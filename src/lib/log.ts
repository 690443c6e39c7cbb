import { pino } from 'pino'

/** Structured logs, one line a call. Never secrets, keys or prompts. */
export type Log = Pick<pino.Logger, 'debug' | 'info' | 'warn' | 'error' | 'fatal'>

/** Lines are collected up to this size, and written at once on the way out: a line a call must not cost a write a call. */
const bufferChars = 4096
const flushEveryMs = 1000

/** Writes to standard error; what is meant for a person goes to standard output. */
export function openLog(level: string, destination: pino.DestinationStream = newDestination()): Log {
  return pino(
    {
      level,
      // An error of an upstream or an engine may quote what it was given: what identifies a secret is cut out.
      serializers: { err: error => withoutSecrets(withoutStackIfAway(pino.stdSerializers.err(error))) },
      base: null,
      // For people: `docker logs` is read at night.
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: label => ({ level: label }) },
    },
    destination,
  )
}

export const silentLog: Log = pino({ level: 'silent' })

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
