import { DatabaseAway } from './database.ts'
import { firstWords } from './exact.ts'

/** What PostgreSQL, or the way to it, says when something is wrong. `code` is an SQLSTATE, or Node's name of a failure of the network. */
export interface Complaint {
  readonly code?: string | undefined
  readonly message: string
  /** `FATAL` and `PANIC` end the session. */
  readonly severity?: string | undefined
}

/** The connection is gone, and with it the word on everything that was asked over it. */
export function isLost({ code = '', severity }: Complaint): boolean {
  return !isSqlState(code) || severity === 'FATAL' || severity === 'PANIC'
}

/** Whoever is next would meet these too, and the same statement may do well later: the engine is away. */
export function isAway({ code = '' }: Complaint): boolean {
  return !isSqlState(code) || awayClasses.has(code.slice(0, 2)) || awayCodes.has(code)
}

/** The transaction was undone, and nothing but the others that ran beside it, or a plan that is out of date, is at fault. */
export function isWorthAnotherTry({ code = '' }: Complaint): boolean {
  return code === '40001' || code === '40P01' || isForgotten({ code, message: '' })
}

/** The server no longer knows, or may no longer use, what was prepared: another node has changed the schema, or something stands between. */
export function isForgotten({ code = '' }: Complaint): boolean {
  return code === '0A000' || code === '26000'
}

/** Of one statement. Messages about the form of a value quote it, and it may be a secret. */
export function refused(complaint: Complaint, sql: string): Error {
  const { code = '', message } = complaint
  const said = code.startsWith('22') ? `a value has a form or size that cannot be taken, SQLSTATE ${code}` : message
  return new Error(`${said} (in "${firstWords(sql)}")`)
}

/** `where` is the server, without its password. */
export function away(where: string, complaint: Complaint): DatabaseAway {
  const code = isSqlState(complaint.code ?? '') ? `, SQLSTATE ${complaint.code}` : ''
  return new DatabaseAway(`The database ${where} is away: ${complaint.message || 'the connection failed'}${code}`)
}

export function complaintOf(error: unknown): Complaint {
  if (!(error instanceof Error)) return { message: String(error) }
  const { code, severity } = error as { code?: string; severity?: string }
  return { code, severity, message: error.message }
}

/** postgresql.org/docs/current/errcodes-appendix.html: connection, login, database, resources, operator, system, configuration. */
const awayClasses = new Set(['08', '28', '3D', '53', '57', '58', 'F0'])
/** A standby, which is read-only; a lock that was not had in time; a transaction that stood idle; damaged files. */
const awayCodes = new Set(['25006', '55P03', '25P03', 'XX001', 'XX002'])

function isSqlState(code: string): boolean {
  return /^(?=.*\d)[0-9A-Z]{5}$/.test(code)
}
