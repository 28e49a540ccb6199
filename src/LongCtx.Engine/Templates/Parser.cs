using System.Runtime.CompilerServices;

namespace LongCtx.Engine.Templates;

/// <summary>Statements of the Jinja subset; expressions are in the other part. Constructs that are not known are refused by name.</summary>
internal sealed partial class Parser
{
    /// <summary>Deepest nesting of blocks and expressions; published templates stay below 20.</summary>
    const int DepthMax = 200;

    readonly List<Token> _tokens;
    int _at, _depth, _loops;

    Parser(List<Token> tokens) => _tokens = tokens;

    public static IReadOnlyList<Statement> Parse(string source)
    {
        Parser parser = new(Lexer.Read(source));
        IReadOnlyList<Statement> body = parser.Body(out _);
        return body;
    }

    Token Current => _tokens[_at];

    Token Next() => _tokens[_at].Kind == TokenKind.End ? _tokens[_at] : _tokens[_at++];

    bool IsOperator(string value) => Current.Kind == TokenKind.Operator && Current.Value == value;

    bool IsName(string value) => Current.Kind == TokenKind.Name && Current.Value == value;

    bool SkipOperator(string value)
    {
        if (!IsOperator(value)) return false;
        _at++;
        return true;
    }

    bool SkipName(string value)
    {
        if (!IsName(value)) return false;
        _at++;
        return true;
    }

    void ExpectOperator(string value)
    {
        if (!SkipOperator(value)) throw Unexpected($"'{value}'");
    }

    void ExpectName(string value)
    {
        if (!SkipName(value)) throw Unexpected($"'{value}'");
    }

    string ExpectName()
    {
        if (Current.Kind != TokenKind.Name) throw Unexpected("a name");
        return Next().Value;
    }

    ChatTemplateException Unexpected(string wanted) => new($"expected {wanted} but found {Describe(Current)}", Current.Line);

    static string Describe(Token token) => token.Kind switch
    {
        TokenKind.End => "the end of the template",
        TokenKind.PrintEnd => "'}}'",
        TokenKind.BlockEnd => "'%}'",
        TokenKind.String => "a string",
        _ => $"'{(token.Value.Length > 40 ? token.Value[..40] + "…" : token.Value)}'",
    };

    /// <summary>Guards every recursive step: the tree's depth bounds the interpreter's recursion too.</summary>
    void Enter()
    {
        if (++_depth > DepthMax || !RuntimeHelpers.TryEnsureSufficientExecutionStack())
            throw new ChatTemplateException($"is nested more than {DepthMax} levels deep", Current.Line);
    }

    void Leave() => _depth--;

    /// <summary>Statements up to a block that begins with one of <paramref name="ends"/>, which is consumed as far as its name; without any, up to the end.</summary>
    List<Statement> Body(out string end, params ReadOnlySpan<string> ends)
    {
        Enter();
        List<Statement> body = [];
        while (true)
        {
            Token token = Next();
            switch (token.Kind)
            {
                case TokenKind.Text:
                    body.Add(new Text(token.Line, token.Value));
                    break;
                case TokenKind.PrintBegin:
                    body.Add(new Print(token.Line, TupleOrExpression()));
                    if (Next().Kind != TokenKind.PrintEnd) throw Back().Unexpected("'}}'");
                    break;
                case TokenKind.BlockBegin:
                    string name = ExpectName();
                    if (ends.Contains(name))
                    {
                        end = name;
                        Leave();
                        return body;
                    }
                    body.Add(Block(name, token.Line));
                    break;
                default:
                    if (ends.Length > 0) throw new ChatTemplateException($"'{{% {ends[^1]} %}}' is missing", token.Line);
                    end = "";
                    Leave();
                    return body;
            }
        }
    }

    Parser Back()
    {
        _at--;
        return this;
    }

    void EndBlock()
    {
        if (Current.Kind != TokenKind.BlockEnd) throw Unexpected("'%}'");
        _at++;
    }

    Statement Block(string name, int line)
    {
        switch (name)
        {
            case "if": return IfBlock(line);
            case "for": return ForBlock(line);
            case "set": return SetStatement(line);
            case "macro": return MacroBlock(line);
            case "with": return WithBlock(line);
            case "break" or "continue":
                if (_loops == 0) throw new ChatTemplateException($"'{name}' outside a loop", line);
                EndBlock();
                return new LoopControl(line, name == "break");
            case "generation":
                EndBlock();
                Generation generation = new(line, Body(out _, "endgeneration"));
                EndBlock();
                return generation;
            case "filter":
                Expression value = FilterChain(new Given(line));
                EndBlock();
                FilterBlock filter = new(line, value, Body(out _, "endfilter"));
                EndBlock();
                return filter;
            default:
                throw new ChatTemplateException($"block '{(name.Length > 40 ? name[..40] + "…" : name)}' is not supported", line);
        }
    }

    If IfBlock(int line)
    {
        List<(Expression, IReadOnlyList<Statement>)> branches = [];
        List<Statement> otherwise = [];
        string end;
        do
        {
            Expression test = TupleOrExpression();
            EndBlock();
            branches.Add((test, Body(out end, "elif", "else", "endif")));
        }
        while (end == "elif");
        if (end == "else")
        {
            EndBlock();
            otherwise = Body(out _, "endif");
        }
        EndBlock();
        return new If(line, branches, otherwise);
    }

    For ForBlock(int line)
    {
        Expression target = Target(allowMember: false);
        ExpectName("in");
        Expression source = TupleOrExpression(withCondition: false);
        Expression? condition = SkipName("if") ? Expression() : null;
        if (IsName("recursive")) throw new ChatTemplateException("recursive loops are not supported", line);
        EndBlock();
        _loops++;
        List<Statement> body = Body(out string end, "else", "endfor");
        _loops--;
        List<Statement> otherwise = [];
        if (end == "else")
        {
            EndBlock();
            otherwise = Body(out _, "endfor");
        }
        EndBlock();
        return new For(line, target, source, condition, body, otherwise);
    }

    Statement SetStatement(int line)
    {
        Expression target = Target(allowMember: true);
        if (SkipOperator("="))
        {
            Set set = new(line, target, TupleOrExpression());
            EndBlock();
            return set;
        }
        Expression value = FilterTail(new Given(line));
        EndBlock();
        SetBlock block = new(line, target, value, Body(out _, "endset"));
        EndBlock();
        return block;
    }

    /// <summary>A name, a tuple of names, or a namespace's member.</summary>
    Expression Target(bool allowMember)
    {
        int line = Current.Line;
        bool parenthesised = SkipOperator("(");
        List<Expression> names = [];
        bool tuple = false;
        do
        {
            if (names.Count > 0 && Current.Kind != TokenKind.Name) break;
            string name = ExpectName();
            if (name is "true" or "false" or "none" or "True" or "False" or "None") throw new ChatTemplateException($"cannot assign to '{name}'", line);
            if (allowMember && names.Count == 0 && SkipOperator(".")) return new Member(line, new Name(line, name), ExpectName());
            names.Add(new Name(line, name));
        }
        while (SkipOperator(",") && (tuple = true));
        if (parenthesised) ExpectOperator(")");
        return tuple ? new ListLiteral(line, names, Tuple: true) : names[0];
    }

    Macro MacroBlock(int line)
    {
        string name = ExpectName();
        ExpectOperator("(");
        List<(string, Expression?)> parameters = [];
        while (!SkipOperator(")"))
        {
            if (parameters.Count > 0) ExpectOperator(",");
            string parameter = ExpectName();
            parameters.Add((parameter, SkipOperator("=") ? Expression() : null));
        }
        EndBlock();
        int loops = _loops;
        _loops = 0;
        Macro macro = new(line, name, parameters, Body(out _, "endmacro"));
        _loops = loops;
        if (Current.Kind == TokenKind.Name) _at++;
        EndBlock();
        return macro;
    }

    With WithBlock(int line)
    {
        List<(Expression, Expression)> values = [];
        while (Current.Kind != TokenKind.BlockEnd)
        {
            if (values.Count > 0) ExpectOperator(",");
            Expression target = Target(allowMember: false);
            ExpectOperator("=");
            values.Add((target, Expression()));
        }
        EndBlock();
        With with = new(line, values, Body(out _, "endwith"));
        EndBlock();
        return with;
    }
}
