using System.Globalization;

namespace LongCtx.Engine.Templates;

/// <summary>Expressions, loosest binding first: inline if, or, and, not, comparisons, + -, ~, * / // %, **, unary, postfix, filters and tests.</summary>
internal sealed partial class Parser
{
    // A chain is a tree as deep as it is long.
    const int ChainMax = 200;

    Expression TupleOrExpression(bool withCondition = true)
    {
        int line = Current.Line;
        Expression first = withCondition ? Expression() : Or();
        if (!IsOperator(",")) return first;
        List<Expression> items = [first];
        while (SkipOperator(","))
        {
            if (Current.Kind is TokenKind.BlockEnd or TokenKind.PrintEnd || IsOperator(")") || IsName("if") || IsName("in")) break;
            items.Add(withCondition ? Expression() : Or());
        }
        return new ListLiteral(line, items, Tuple: true);
    }

    Expression Expression()
    {
        Enter();
        int line = Current.Line;
        Expression value = Or();
        for (int n = 0; SkipName("if"); n++)
        {
            Expression test = Or();
            value = Chain(n, new Conditional(line, test, value, SkipName("else") ? Expression() : null));
        }
        Leave();
        return value;
    }

    T Chain<T>(int length, T node) where T : Expression =>
        length < ChainMax ? node : throw new ChatTemplateException($"an expression chains more than {ChainMax} operations", node.Line);

    Expression Or() => Words(And, "or");

    Expression And() => Words(Not, "and");

    Expression Words(Func<Expression> operand, string word)
    {
        Expression left = operand();
        for (int n = 0; IsName(word); n++)
        {
            int line = Next().Line;
            left = Chain(n, new Binary(line, word, left, operand()));
        }
        return left;
    }

    Expression Not()
    {
        if (!IsName("not")) return Compare();
        Enter();
        Unary result = new(Next().Line, "not", Not());
        Leave();
        return result;
    }

    Expression Compare()
    {
        int line = Current.Line;
        Expression first = Sum();
        List<(string, Expression)> rest = [];
        while (true)
        {
            if (Current is { Kind: TokenKind.Operator, Value: "==" or "!=" or "<" or "<=" or ">" or ">=" }) rest.Add((Next().Value, Sum()));
            else if (SkipName("in")) rest.Add(("in", Sum()));
            else if (IsName("not") && _tokens[_at + 1] is { Kind: TokenKind.Name, Value: "in" })
            {
                _at += 2;
                rest.Add(("not in", Sum()));
            }
            else return rest.Count == 0 ? first : new Comparison(line, first, rest);
        }
    }

    Expression Sum() => Operators(Concatenation, "+", "-");

    Expression Concatenation() => Operators(Product, "~");

    Expression Product() => Operators(Power, "*", "/", "//", "%");

    Expression Power() => Operators(() => UnaryExpression(), "**");

    Expression Operators(Func<Expression> operand, params string[] operators)
    {
        Expression left = operand();
        for (int n = 0; Current.Kind == TokenKind.Operator && operators.Contains(Current.Value); n++)
        {
            Token symbol = Next();
            left = Chain(n, new Binary(symbol.Line, symbol.Value, left, operand()));
        }
        return left;
    }

    Expression UnaryExpression(bool withFilters = true)
    {
        Enter();
        Expression value;
        if (Current is { Kind: TokenKind.Operator, Value: "-" or "+" })
        {
            Token sign = Next();
            value = new Unary(sign.Line, sign.Value, UnaryExpression(withFilters: false));
        }
        else value = Postfix(Primary());
        if (withFilters) value = FilterTail(value);
        Leave();
        return value;
    }

    Expression Primary()
    {
        Token token = Next();
        switch (token.Kind)
        {
            case TokenKind.Name:
                return token.Value switch
                {
                    "true" or "True" => new Literal(token.Line, true),
                    "false" or "False" => new Literal(token.Line, false),
                    "none" or "None" => new Literal(token.Line, null),
                    _ => new Name(token.Line, token.Value),
                };
            case TokenKind.String:
                List<string> parts = [token.Value];
                while (Current.Kind == TokenKind.String) parts.Add(Next().Value);
                return new Literal(token.Line, string.Concat(parts));
            case TokenKind.Integer:
                return long.TryParse(token.Value, NumberStyles.None, CultureInfo.InvariantCulture, out long integer)
                    ? new Literal(token.Line, integer) : throw new ChatTemplateException("a number is too large", token.Line);
            case TokenKind.Float:
                return new Literal(token.Line, double.Parse(token.Value, CultureInfo.InvariantCulture));
            case TokenKind.Operator when token.Value == "(":
                if (SkipOperator(")")) return new ListLiteral(token.Line, [], Tuple: true);
                Expression inner = TupleOrExpression();
                ExpectOperator(")");
                return inner;
            case TokenKind.Operator when token.Value == "[":
                List<Expression> items = [];
                while (!SkipOperator("]"))
                {
                    if (items.Count > 0) ExpectOperator(",");
                    if (SkipOperator("]")) break;
                    items.Add(Expression());
                }
                return new ListLiteral(token.Line, items, Tuple: false);
            case TokenKind.Operator when token.Value == "{":
                List<(Expression, Expression)> entries = [];
                while (!SkipOperator("}"))
                {
                    if (entries.Count > 0) ExpectOperator(",");
                    if (SkipOperator("}")) break;
                    Expression key = Expression();
                    ExpectOperator(":");
                    entries.Add((key, Expression()));
                }
                return new DictLiteral(token.Line, entries);
            default:
                if (token.Kind != TokenKind.End) _at--;
                throw Unexpected("a value");
        }
    }

    Expression Postfix(Expression value)
    {
        for (int n = 0; ; n++)
        {
            int line = Current.Line;
            if (SkipOperator("."))
            {
                Token token = Next();
                value = token.Kind switch
                {
                    TokenKind.Name => new Member(line, value, token.Value),
                    TokenKind.Integer when long.TryParse(token.Value, out long i) => new Index(line, value, new Literal(line, i)),
                    _ => throw Back().Unexpected("a name"),
                };
            }
            else if (SkipOperator("[")) value = Subscript(value, line);
            else if (IsOperator("(")) value = new Call(line, value, CallArguments());
            else return value;
            Chain(n, value);
        }
    }

    Expression Subscript(Expression value, int line)
    {
        Expression? from = IsOperator(":") ? null : Expression();
        if (SkipOperator("]")) return new Index(line, value, from!);
        ExpectOperator(":");
        Expression? to = IsOperator(":") || IsOperator("]") ? null : Expression();
        Expression? step = SkipOperator(":") && !IsOperator("]") ? Expression() : null;
        ExpectOperator("]");
        return new Slice(line, value, from, to, step);
    }

    Arguments CallArguments()
    {
        ExpectOperator("(");
        List<Expression> positional = [];
        List<(string, Expression)> named = [];
        while (!SkipOperator(")"))
        {
            if (positional.Count + named.Count > 0)
            {
                ExpectOperator(",");
                if (SkipOperator(")")) break;
            }
            if (IsOperator("*") || IsOperator("**")) throw new ChatTemplateException("unpacked arguments are not supported", Current.Line);
            if (Current.Kind == TokenKind.Name && _tokens[_at + 1] is { Kind: TokenKind.Operator, Value: "=" })
            {
                string name = Next().Value;
                _at++;
                named.Add((name, Expression()));
            }
            else if (named.Count > 0) throw Unexpected("a named argument");
            else positional.Add(Expression());
        }
        return new Arguments(positional, named);
    }

    /// <summary>Any number of | filter and "is test".</summary>
    Expression FilterTail(Expression value)
    {
        for (int n = 0; ; n++)
        {
            if (SkipOperator("|")) value = FilterNamed(value);
            else if (SkipName("is")) value = TestNamed(value);
            else if (n > 0 && IsOperator("(")) value = new Call(Current.Line, value, CallArguments());
            else return value;
            Chain(n, value);
        }
    }

    /// <summary>The filters of a filter block, the first without a bar before it.</summary>
    Expression FilterChain(Expression value) => FilterTail(FilterNamed(value));

    Filter FilterNamed(Expression input)
    {
        int line = Current.Line;
        string name = DottedName();
        return new Filter(line, input, name, IsOperator("(") ? CallArguments() : Arguments.None);
    }

    Test TestNamed(Expression input)
    {
        int line = Current.Line;
        bool negated = SkipName("not");
        string name = DottedName();
        Arguments arguments = Arguments.None;
        if (IsOperator("(")) arguments = CallArguments();
        else if (Current.Kind is TokenKind.String or TokenKind.Integer or TokenKind.Float || IsOperator("[") || IsOperator("{")
            || (Current.Kind == TokenKind.Name && Current.Value is not ("else" or "or" or "and" or "if" or "is" or "in" or "not" or "recursive")))
            arguments = new Arguments([Postfix(Primary())], []);
        return new Test(line, input, name, arguments, negated);
    }

    string DottedName()
    {
        string name = ExpectName();
        while (SkipOperator(".")) name += "." + ExpectName();
        return name;
    }
}
