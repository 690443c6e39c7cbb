import type { Context } from 'hono'
import { HTTPException } from 'hono/http-exception'
import { DatabaseAway } from '../storage/database.ts'
import type { AdminLog } from './ports.ts'
import { type Problem, problemsOf } from './sentence.ts'

export type RefusalStatus = 400 | 401 | 404 | 409 | 413 | 415 | 422 | 500 | 503

/** An expected refusal: the status, a word for programs, and a sentence for people that says what would be right. */
export class Refusal extends Error {
  override readonly name = 'Refusal'
  readonly status: RefusalStatus
  readonly code: string
  readonly problems: readonly Problem[]

  constructor(status: RefusalStatus, code: string, message: string, problems: readonly Problem[] = []) {
    super(message)
    this.status = status
    this.code = code
    this.problems = problems
  }
}

/** There is nothing of that kind with that name. */
export function notFound(kind: string, ref: string): Refusal {
  return new Refusal(404, 'not_found', `There is no ${kind} ${JSON.stringify(ref.slice(0, 100))}.`)
}

/** What was sent cannot be used; each problem is told with its place. */
export function invalid(problems: readonly Problem[], status: 400 | 422 = 422): Refusal {
  return new Refusal(status, 'invalid', problems.map(problem => problem.message).join(' '), problems)
}

/** The answer to whatever was thrown. What nobody expected is logged, and its caller told no more than that. */
export function answerTo(error: Error, context: Context, log: AdminLog): Response {
  const refusal = refusalOf(error)
  if (refusal.status === 500) log.failed(error, `${context.req.method} ${context.req.path}`)
  if (refusal.status === 401) context.header('www-authenticate', 'Bearer realm="headgate admin"')
  return context.json(bodyOf(refusal), refusal.status)
}

/** Tells what zod found, for every route: bodies are 422, paths and queries 400. */
export function refuseInvalid(checked: Checked, context: Context): Response | undefined {
  if (checked.success) return undefined
  const problems = problemsOf(checked.error.issues)
  const refusal = invalid(problems, checked.target === 'json' ? 422 : 400)
  return context.json(bodyOf(refusal), refusal.status)
}

type Checked =
  | { readonly success: true }
  | { readonly success: false; readonly target: string; readonly error: { readonly issues: Parameters<typeof problemsOf>[0] } }

function bodyOf({ code, message, problems }: Refusal) {
  const [first] = problems
  return { error: { message, code, ...(first && { path: first.path }), ...(problems.length > 1 && { problems }) } }
}

function refusalOf(error: Error): Refusal {
  if (error instanceof Refusal) return error
  if (error instanceof DatabaseAway)
    return new Refusal(
      503,
      'books_away',
      'The books cannot be reached now. A change may or may not have been made: look before you try again.',
    )
  if (error instanceof HTTPException) return refusalOfHono(error)
  return new Refusal(500, 'internal', 'This went wrong inside the gateway; its log says what.')
}

/** Hono refuses what cannot even be read. */
function refusalOfHono({ status }: HTTPException): Refusal {
  if (status === 415) return new Refusal(415, 'not_json', 'The body must be sent with the header "content-type: application/json".')
  if (status === 413) return new Refusal(413, 'too_large', 'The body is too large.')
  return new Refusal(400, 'not_json', 'The body is not JSON that can be read.')
}
