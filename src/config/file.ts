import { readFileSync } from 'node:fs'
import { relative } from 'node:path'
import { isAlias, isMap, isNode, isScalar, isSeq, LineCounter, type Node, type ParsedNode, parseDocument } from 'yaml'

/** A name and a value as a settings file has them, with its place: "headgate.yaml:3". */
export interface FileLine {
  readonly name: string
  /** Undefined: there is nothing after the name, or something that is no single value. */
  readonly text: string | undefined
  readonly isList: boolean
  readonly where: string
}

export interface FileRead {
  readonly lines: readonly FileLine[]
  readonly problems: readonly string[]
}

const fileBytesMax = 1_048_576

/** Reads a settings file: one YAML mapping of names to values or lists of values. Whatever is wrong is a sentence in `problems`. */
export function readSettingsFile(path: string, cwd: string): FileRead {
  const shown = relative(cwd, path).startsWith('..') ? path : relative(cwd, path)
  try {
    const bytes = readFileSync(path)
    if (bytes.length > fileBytesMax) return only(`${shown} is larger than ${fileBytesMax} bytes; a settings file has a few lines.`)
    return parseSettings(bytes.toString('utf8'), shown)
  } catch (error) {
    return only(`The settings file ${shown} cannot be read: ${reason(error)}.`)
  }
}

export function parseSettings(yaml: string, shown: string): FileRead {
  const counter = new LineCounter()
  const document = parseDocument(yaml, { lineCounter: counter, prettyErrors: false })
  const placeOf = (offset: number) => `${shown}:${counter.linePos(offset).line}`
  if (document.errors.length > 0) {
    return { lines: [], problems: document.errors.map(error => `${placeOf(error.pos[0])}: ${yamlSentence(error.code, error.message)}`) }
  }
  const root = document.contents
  if (root === null || (isScalar(root) && root.value === null)) return { lines: [], problems: [] }
  if (!isMap<ParsedNode, ParsedNode | null>(root)) {
    return only(`${placeOf(root.range[0])}: A settings file has lines of "name: value", such as "listen: 127.0.0.1:8080".`)
  }
  const lines = root.items.map(({ key, value }) => {
    const scalars = isSeq(value) ? value.items : [value]
    const texts = scalars.map(textOf)
    return {
      name: textOf(key) ?? String(key),
      text: texts.every(text => text !== undefined) ? texts.join(',') : undefined,
      isList: isSeq(value),
      where: placeOf(key.range[0]),
    }
  })
  return { lines, problems: [] }
}

/** What yaml's own messages say, for people who did not write a YAML parser. */
export function yamlSentence(code: string, message: string): string {
  if (code === 'DUPLICATE_KEY') return 'The same name stands twice in one mapping; keep one of the two lines.'
  return `This is not valid YAML: ${message.replaceAll('\n', ' ').replace(/\.$/, '')}.`
}

/** A plain number keeps the digits it was written with, so that 1e3 and 0x10 are not taken for what they resemble. */
function textOf(node: Node | null | unknown): string | undefined {
  if (!isNode(node) || isAlias(node) || !isScalar(node) || node.value === null) return undefined
  return typeof node.value === 'string' ? node.value : (node.source ?? String(node.value))
}

function reason(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'ENOENT') return 'there is no such file'
  if (code === 'EACCES') return 'you may not read it'
  if (code === 'EISDIR') return 'it is a folder'
  return error instanceof Error ? error.message : String(error)
}

function only(problem: string): FileRead {
  return { lines: [], problems: [problem] }
}
