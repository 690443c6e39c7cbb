import type { z } from 'zod'

/** One thing that is wrong with what was sent: where it stands, and a sentence that says what would be right. */
export interface Problem {
  readonly path: readonly (string | number)[]
  readonly message: string
}

/** What zod found, in sentences: "accounts[0].weight must be at least 1." */
export function problemsOf(issues: readonly z.core.$ZodIssue[]): Problem[] {
  return issues.map(issue => {
    const path = issue.path.map(part => (typeof part === 'number' ? part : String(part)))
    return { path, message: `${placeOf(path)} ${predicateOf(issue)}.` }
  })
}

/** ["accounts", 0, "weight"] → "accounts[0].weight" */
export function placeOf(path: readonly (string | number)[]): string {
  const place = path.reduce<string>(
    (text, part) => (typeof part === 'number' ? `${text}[${part}]` : text === '' ? part : `${text}.${part}`),
    '',
  )
  return place === '' ? 'The body' : place
}

function predicateOf(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return issue.message.endsWith('received undefined')
        ? 'is missing'
        : `takes ${kinds[issue.expected] ?? issue.expected}${received(issue.message)}`
    case 'invalid_value':
      return `takes ${issue.values.map(value => JSON.stringify(value)).join(' or ')}`
    case 'invalid_union':
      return issue.message === 'Invalid input' ? 'is missing' : issue.message
    case 'too_small':
      return tooSmall(issue)
    case 'too_big':
      return `may be at most ${issue.maximum}${unitOf(issue.origin)}`
    case 'unrecognized_keys':
      return `is not right: ${issue.message}`
    default:
      return issue.message
  }
}

const kinds: Readonly<{ [kind: string]: string }> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
  record: 'an object',
}

function received(message: string): string {
  const kind = /received (\w+)$/.exec(message)?.[1]
  return kind === undefined ? '' : `, not ${kinds[kind] ?? kind}`
}

function tooSmall(issue: z.core.$ZodIssueTooSmall): string {
  if (issue.origin !== 'string' && issue.origin !== 'array') return `must be at least ${issue.minimum}`
  return Number(issue.minimum) === 1 ? 'may not be empty' : `must have at least ${issue.minimum}${unitOf(issue.origin)}`
}

function unitOf(origin: string): string {
  if (origin === 'string') return ' characters long'
  return origin === 'array' ? ' long' : ''
}
