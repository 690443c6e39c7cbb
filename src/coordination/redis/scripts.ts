import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'

/** Each is one atomic operation. Its file says what it does, with which keys and arguments, and what it returns. */
const names = [
  'callers-check',
  'callers-enter',
  'callers-leave',
  'callers-reap',
  'callers-register',
  'callers-renew',
  'lease-beat',
  'lease-bury',
  'lease-end',
  'meters-correct',
  'meters-spend',
  'pools-change',
  'pools-check',
  'pools-conditions',
  'pools-leave',
  'pools-reap',
  'pools-register',
  'pools-take',
  'pools-wait',
  'session-find',
] as const

export type ScriptName = (typeof names)[number]

export interface Script {
  readonly text: string
  /** What Redis knows it by. */
  readonly sha: string
}

/** What the scripts of one subject have in common stands in a file of its own, and is put in front of each. */
const meters = read('meters')
const shared: Readonly<Record<string, string>> = {
  callers: `${meters}\n${read('callers')}`,
  meters,
  pools: `${meters}\n${read('pools')}`,
}

export const scripts = Object.fromEntries(names.map(name => [name, scriptOf(name)])) as Readonly<Record<ScriptName, Script>>

function scriptOf(name: ScriptName): Script {
  // The first line asks Redis to be strict: in a cluster it refuses a script that touches keys of two places.
  const text = `#!lua\n${shared[name.split('-')[0]!] ?? ''}\n${read(name)}`
  return { text, sha: createHash('sha1').update(text).digest('hex') }
}

function read(name: string): string {
  return readFileSync(new URL(`./${name}.lua`, import.meta.url), 'utf8')
}
