/**
 * `rpc.discover`: the control interface as an OpenRPC 1.3 document, made from the schemas that validate it. OpenRPC
 * speaks of methods that a client calls; what the daemon sends by itself stands under `x-notifications`.
 */
import { z } from 'zod';
import { CONTROL_VERSION, METHODS, NOTIFICATIONS } from '../api/methods.ts';
import { ERROR_CODES, helpOf, isErrorCode } from '../base/errors.ts';

type JsonSchema = Record<string, unknown>;

interface ContentDescriptor {
  readonly name: string;
  readonly required?: boolean;
  readonly description?: string;
  readonly schema: JsonSchema;
}

/** Errors that any method may answer. */
const GENERAL_ERRORS = ['INVALID_PARAMS', 'BUSY', 'STOPPING', 'INTERNAL'] as const;

/** OpenRPC 1.3 schemas are JSON Schema draft 7. */
function schemaOf(schema: z.ZodType, io: 'input' | 'output'): JsonSchema {
  const { $schema: _, ...plain } = z.toJSONSchema(schema, { io, target: 'draft-7' });
  return plain;
}

function descriptorsOf(schema: z.ZodType, io: 'input' | 'output'): ContentDescriptor[] {
  const { properties, required } = schemaOf(schema, io) as {
    properties?: Record<string, JsonSchema>;
    required?: string[];
  };
  return Object.entries(properties ?? {}).map(([name, property]) => ({
    name,
    required: required?.includes(name) ?? false,
    ...(typeof property.description === 'string' ? { description: property.description } : {}),
    schema: property,
  }));
}

const resultName = (method: string): string => `${method.replaceAll('.', '_')}_result`;

export function openRpcDocument(version: string): Record<string, unknown> {
  return {
    openrpc: '1.3.2',
    info: {
      title: 'Covey control interface',
      version,
      description:
        'JSON-RPC 2.0, one object a line (NDJSON, UTF-8), on the Unix socket of a coveyd. Named parameters only.',
      license: { name: 'MIT' },
    },
    'x-control-version': CONTROL_VERSION,
    methods: Object.entries(METHODS).map(([name, method]) => ({
      name,
      summary: method.summary,
      paramStructure: 'by-name',
      params: descriptorsOf(method.params, 'input'),
      result: { name: resultName(name), schema: schemaOf(method.result, 'output') },
      errors: GENERAL_ERRORS.map((code) => ({ $ref: `#/components/errors/${code}` })),
    })),
    'x-notifications': Object.entries(NOTIFICATIONS).map(([name, params]) => ({
      name,
      paramStructure: 'by-name',
      params: descriptorsOf(params, 'output'),
    })),
    components: { errors: errorTable() },
  };
}

function errorTable(): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(ERROR_CODES).map(([code, entry]) => {
      const help = isErrorCode(code) ? helpOf(code) : undefined;
      const data = { code, retryable: entry.retryable, ...(help === undefined ? {} : { help }) };
      return [code, { code: entry.rpc, message: entry.sentence, data }];
    }),
  );
}
