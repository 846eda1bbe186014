/**
 * The kinds of node that may stand in the tree of a query, and the members each may have. Postgres's parser gives a
 * tree of objects `{ Kind: { member: … } }`; where a member is always of one kind, without its name. Everything that
 * is not here is refused, so that what a later Postgres invents is refused until a developer has looked at it.
 *
 * `*`: a node or a list of nodes. `=`: a value that needs no look, or one that the guard looks at itself. A kind: a
 * node of that kind, without its name.
 */
export type Shape = '*' | '=' | (string & {});

const is = (members: string, kinds: Record<string, Shape> = {}): ReadonlyMap<string, Shape> => {
  const plain = members.split(' ').filter((member) => member !== '');
  return new Map<string, Shape>([
    ...plain.map((member): [string, Shape] => (member.endsWith('=') ? [member.slice(0, -1), '='] : [member, '*'])),
    ...Object.entries(kinds),
  ]);
};

export const SHAPES: ReadonlyMap<string, ReadonlyMap<string, Shape>> = new Map([
  [
    'SelectStmt',
    is(
      'distinctClause targetList fromClause whereClause groupClause groupDistinct= havingClause windowClause valuesLists sortClause limitOffset limitCount limitOption= op= all=',
      { withClause: 'WithClause', larg: 'SelectStmt', rarg: 'SelectStmt' },
    ),
  ],
  ['WithClause', is('ctes recursive=')],
  ['CommonTableExpr', is('ctename= aliascolnames ctematerialized= ctequery')],
  ['ResTarget', is('name= val')],
  ['RangeVar', is('schemaname= relname= inh= relpersistence=', { alias: 'Alias' })],
  ['RangeSubselect', is('lateral= subquery', { alias: 'Alias' })],
  ['RangeFunction', is('lateral= ordinality= is_rowsfrom= functions coldeflist', { alias: 'Alias' })],
  ['ColumnDef', is('colname= is_local=', { typeName: 'TypeName' })],
  [
    'JoinExpr',
    is('jointype= isNatural= larg rarg usingClause quals rtindex=', { join_using_alias: 'Alias', alias: 'Alias' }),
  ],
  ['Alias', is('aliasname= colnames')],
  ['ColumnRef', is('fields')],
  ['A_Star', is('')],
  ['A_Const', is('isnull= ival= fval= boolval= sval= bsval=')],
  ['A_Expr', is('kind= name= lexpr rexpr')],
  ['A_ArrayExpr', is('elements')],
  ['A_Indirection', is('arg indirection')],
  ['A_Indices', is('is_slice= lidx uidx')],
  ['RowExpr', is('args row_format= colnames')],
  ['BoolExpr', is('boolop= args')],
  ['NullTest', is('arg nulltesttype= argisrow=')],
  ['BooleanTest', is('arg booltesttype=')],
  ['CaseExpr', is('arg args defresult')],
  ['CaseWhen', is('expr result')],
  ['CoalesceExpr', is('args')],
  ['MinMaxExpr', is('op= args')],
  ['SQLValueFunction', is('op= typmod=')],
  ['SubLink', is('subLinkType= testexpr operName= subselect')],
  [
    'FuncCall',
    is('funcname= args agg_order agg_filter agg_within_group= agg_star= agg_distinct= func_variadic= funcformat=', {
      over: 'WindowDef',
    }),
  ],
  ['NamedArgExpr', is('name= arg argnumber=')],
  ['TypeCast', is('arg', { typeName: 'TypeName' })],
  ['TypeName', is('names= typmods typemod= arrayBounds')],
  ['CollateClause', is('arg collname=')],
  ['SortBy', is('node sortby_dir= sortby_nulls=')],
  ['WindowDef', is('name= refname= partitionClause orderClause frameOptions= startOffset endOffset')],
  ['GroupingSet', is('kind= content')],
  ['GroupingFunc', is('args')],
  ['List', is('items')],
  ['String', is('sval=')],
  ['Integer', is('ival=')],
  ['Float', is('fval=')],
  ['Boolean', is('boolval=')],
]);

/** Where a node stands in the text: in any of them. */
export const PLACES: ReadonlySet<string> = new Set([
  'location',
  'list_start',
  'list_end',
  'rexpr_list_start',
  'rexpr_list_end',
  'name_location',
]);

/** Sentences for what people try most, by kind, and by kind and member. */
export const REASONS: ReadonlyMap<string, string> = new Map([
  ['SelectStmt.intoClause', 'SELECT INTO is not available'],
  ['SelectStmt.lockingClause', 'FOR UPDATE and FOR SHARE are not available: nothing can be locked'],
  ['RangeTableSample', 'TABLESAMPLE is not available; use WHERE random() < 0.01'],
  ['ParamRef', 'parameters ($1) are not available; write the value'],
  ['SortBy.useOp', 'ORDER BY … USING is not available; use ASC or DESC'],
  ['InsertStmt', 'a WITH may hold queries only'],
  ['UpdateStmt', 'a WITH may hold queries only'],
  ['DeleteStmt', 'a WITH may hold queries only'],
  ['MergeStmt', 'a WITH may hold queries only'],
  ['XmlExpr', 'functions for XML are not available'],
  ['XmlSerialize', 'functions for XML are not available'],
  ['RangeTableFunc', 'XMLTABLE is not available'],
  ['JsonTable', 'JSON_TABLE is not available; use json_array_elements or jsonb_path_query'],
  ['JsonFuncExpr', 'JSON_VALUE and JSON_QUERY are not available; use -> and ->>, or jsonb_path_query'],
  ['JsonObjectConstructor', 'JSON_OBJECT(…) is not available; use json_build_object'],
  ['JsonArrayConstructor', 'JSON_ARRAY(…) is not available; use json_build_array'],
  ['JsonObjectAgg', 'JSON_OBJECTAGG is not available; use json_object_agg'],
  ['JsonArrayAgg', 'JSON_ARRAYAGG is not available; use json_agg'],
  ['RangeVar.catalogname', 'name a table without its database'],
  ['CommonTableExpr.search_clause', 'SEARCH is not available; use ORDER BY'],
  ['CommonTableExpr.cycle_clause', 'CYCLE is not available; bound the recursion by a condition'],
  ['TypeName.setof', 'SETOF is not available'],
  ['TypeName.pct_type', '%TYPE is not available; name the type'],
]);
