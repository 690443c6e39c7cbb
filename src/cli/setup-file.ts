import { type Document, isAlias, isMap, isNode, isPair, isScalar, isSeq, LineCounter, type Node, parseDocument, visit } from 'yaml'
import type { z } from 'zod'
import { problemsOf } from '../admin/sentence.ts'
import { yamlSentence } from '../config/file.ts'
import { didYouMean } from '../config/nearest.ts'
import { type Terminal, wrong } from './io.ts'

interface SetupSource {
  /** What the file is called in sentences. */
  readonly shown: string
  readonly schema: z.ZodType
  /** For `apiKey: {env: NAME}`: the secret stands in the environment of whoever applies the file, not in the file. */
  readonly env: Terminal['env']
}

/**
 * Reads and checks a setup file. Throws a `Failure` with a sentence for each mistake, each with its line:
 * "setup.yaml:12: accounts[0].concurency is not a setting; did you mean concurrency?"
 */
export function readSetup(yaml: string, source: SetupSource): CheckedSetup {
  const file = parseFile(yaml, source.shown)
  const { setup, problems } = withSecrets(file, source.env)
  if (problems.length > 0) throw wrong(problems.join('\n'))
  const checked = source.schema.safeParse(setup)
  if (checked.success) return { setup, placeOf: path => file.placeOf(keyAt(file.root, path)) }
  throw wrong(checked.error.issues.flatMap(issue => sentencesOf(issue, file, source.schema)).join('\n'))
}

export interface CheckedSetup {
  readonly setup: unknown
  /** The line that says what stands at this path: "setup.yaml:12". */
  placeOf(path: Path): string
}

interface File {
  readonly root: Node
  readonly value: unknown
  /** "setup.yaml:12" */
  placeOf(node: Node): string
}

type Path = readonly PropertyKey[]

function parseFile(yaml: string, shown: string): File {
  const counter = new LineCounter()
  const document = parseDocument(yaml, { lineCounter: counter, prettyErrors: false })
  const placeAt = (offset: number) => `${shown}:${counter.linePos(offset).line}`
  if (document.errors.length > 0) {
    throw wrong(document.errors.map(error => `${placeAt(error.pos[0])}: ${yamlSentence(error.code, error.message)}`).join('\n'))
  }
  const root = document.contents
  if (!isMap(root)) throw wrong(`${shown}: A setup file has lists named groups, users, accounts and so on; this has none.`)
  keepDecimals(document)
  return { root, value: document.toJS({ maxAliasCount: aliasesMax }), placeOf: node => placeAt(node.range?.[0] ?? 0) }
}

/** A few lines of aliases can stand for more things than memory holds. */
const aliasesMax = 1_000

/** Money and multipliers are decimal text: 1.10 stays as it was written, and no float is ever made of it. */
function keepDecimals(document: Document): void {
  visit(document, {
    Scalar(_, scalar) {
      if (typeof scalar.value === 'number' && /^\d+\.\d+$/.test(scalar.source ?? '')) scalar.value = scalar.source
    },
  })
}

/** A copy of the setup in which every `apiKey: {env: NAME}` is the secret itself. */
function withSecrets(file: File, env: Terminal['env']): { setup: unknown; problems: readonly string[] } {
  const problems: string[] = []
  const resolve = (value: unknown, path: Path): unknown => {
    if (Array.isArray(value)) return value.map((one, at) => resolve(one, [...path, at]))
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(
      Object.entries(value).map(([name, one]) => [
        name,
        name === 'apiKey' ? secretOf(one, [...path, name]) : resolve(one, [...path, name]),
      ]),
    )
  }
  const secretOf = (value: unknown, path: Path): unknown => {
    if (typeof value !== 'object' || value === null || !('env' in value) || typeof value.env !== 'string') return value
    const secret = env[value.env]
    if (secret) return secret
    problems.push(
      `${file.placeOf(nodeAt(file.root, [...path, 'env']).node)}: ${shownPath(path)} wants the variable ${value.env}, which is not set; set it before you apply the file.`,
    )
    return value
  }
  return { setup: resolve(file.value, []), problems }
}

/** The sentences of the admin API, but with the line; an unknown name is also told at its own line, with what was meant. */
function sentencesOf(issue: z.core.$ZodIssue, file: File, schema: z.ZodType): string[] {
  if (issue.code === 'unrecognized_keys') {
    const known = namesIn(schema, issue.path)
    return issue.keys.map(key => {
      const path = [...issue.path, key]
      return `${file.placeOf(keyAt(file.root, path))}: ${shownPath(path)} is not a setting${didYouMean(key, known)}`
    })
  }
  return problemsOf([issue]).map(problem => `${file.placeOf(keyAt(file.root, issue.path))}: ${problem.message}`)
}

/** The node at the end of the path, or the deepest that there is on the way to it. */
function nodeAt(root: Node, path: Path): { node: Node; isThere: boolean } {
  let node = root
  for (const step of path) {
    const next = childOf(node, step)
    if (next === undefined) return { node, isThere: false }
    node = next
  }
  return { node, isThere: true }
}

/** Where a person would look: at the name, which may stand lines above its value. */
function keyAt(root: Node, path: Path): Node {
  const last = path.at(-1)
  const { node, isThere } = nodeAt(root, path.slice(0, -1))
  if (!isThere || !isMap(node) || last === undefined) return nodeAt(root, path).node
  const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(last))
  return isNode(pair?.key) ? pair.key : node
}

function childOf(node: Node, step: PropertyKey): Node | undefined {
  if (isAlias(node) || !(isMap(node) || isSeq(node))) return undefined
  const found = node.items.find((item, at) => (isPair(item) ? isScalar(item.key) && String(item.key.value) === String(step) : at === step))
  const child = isPair(found) ? (found.value ?? found.key) : found
  return isNode(child) ? child : undefined
}

/** accounts[0].models.gpt-5 */
function shownPath(path: Path): string {
  return path.map((step, at) => (typeof step === 'number' ? `[${step}]` : `${at === 0 ? '' : '.'}${String(step)}`)).join('')
}

/** The names that the schema knows at the end of the path. */
function namesIn(schema: z.core.$ZodType, path: Path): string[] {
  const def = (schema as z.core.$ZodTypes)._zod.def
  const [step, ...rest] = path
  switch (def.type) {
    case 'object':
      if (step === undefined) return Object.keys(def.shape)
      return def.shape[String(step)] === undefined ? [] : namesIn(def.shape[String(step)]!, rest)
    case 'array':
      return step === undefined ? [] : namesIn(def.element, rest)
    case 'record':
      return step === undefined ? [] : namesIn(def.valueType, rest)
    case 'union':
      return def.options.flatMap(option => namesIn(option, path))
    case 'pipe':
      return namesIn(def.in, path)
    case 'optional':
    case 'nullable':
    case 'default':
    case 'prefault':
    case 'readonly':
      return namesIn(def.innerType, path)
    default:
      return []
  }
}
