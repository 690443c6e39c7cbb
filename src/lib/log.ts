import { pino } from 'pino'

/** Structured logs, one line a call. Never secrets, keys or prompts. */
export type Log = Pick<pino.Logger, 'debug' | 'info' | 'warn' | 'error' | 'fatal'>

export function openLog(level: string): Log {
  return pino({
    level,
    // An error of an upstream or an engine may quote what it was given: what identifies a secret is cut out.
    serializers: { err: error => withoutSecrets(pino.stdSerializers.err(error)) },
    base: null,
  })
}

export const silentLog: Log = pino({ level: 'silent' })

/** Anything that looks like a key of ours, an OpenAI key, or a bearer token. */
const secretLike = /\b(sk-[A-Za-z0-9_-]{8,}|Bearer\s+\S+)/g

function withoutSecrets(error: pino.SerializedError): pino.SerializedError {
  for (const name of ['message', 'stack'] as const) {
    if (typeof error[name] === 'string') error[name] = error[name].replace(secretLike, '[secret]')
  }
  return error
}
