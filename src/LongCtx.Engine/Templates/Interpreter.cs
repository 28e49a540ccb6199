using System.Runtime.CompilerServices;
using System.Text;

namespace LongCtx.Engine.Templates;

/// <summary>One rendering: statements here, expressions, filters, tests and methods in the other parts.</summary>
internal sealed partial class Interpreter
{
    sealed class Scope(Scope? parent)
    {
        readonly Dictionary<string, object?> _values = [];

        public void Set(string name, object? value) => _values[name] = value;

        public bool TryGet(string name, out object? value)
        {
            for (Scope? scope = this; scope is not null; scope = scope.Parent)
                if (scope._values.TryGetValue(name, out value)) return true;
            value = null;
            return false;
        }

        Scope? Parent { get; } = parent;
    }

    enum Flow
    {
        Next,
        Break,
        Continue,
    }

    readonly Budget _budget;
    readonly TimeProvider _clock;
    StringBuilder _output = new();
    Scope _scope = new(null);
    int _callDepth;

    /// <summary>What {{ }} inside a filter block stands for.</summary>
    object? _given;

    Interpreter(Budget budget, TimeProvider clock)
    {
        (_budget, _clock) = (budget, clock);
        AddGlobals();
    }

    public static string Render(IReadOnlyList<Statement> template, IReadOnlyDictionary<string, object?> variables, TimeProvider clock, long inputLength)
    {
        Interpreter interpreter = new(new Budget(inputLength), clock);
        interpreter._scope = new Scope(interpreter._scope);
        foreach ((string name, object? value) in variables) interpreter._scope.Set(name, Values.From(value));
        interpreter.Run(template);
        return interpreter._output.ToString();
    }

    Flow Run(IReadOnlyList<Statement> body)
    {
        foreach (Statement statement in body)
        {
            _budget.Line = statement.Line;
            _budget.Charge(1);
            if (!RuntimeHelpers.TryEnsureSufficientExecutionStack()) throw _budget.Error("blocks and calls are nested too deeply");
            Flow flow = Run(statement);
            if (flow != Flow.Next) return flow;
        }
        return Flow.Next;
    }

    Flow Run(Statement statement)
    {
        switch (statement)
        {
            case Text text:
                Write(text.Value);
                return Flow.Next;
            case Print print:
                Write(Values.Str(Evaluate(print.Value), _budget));
                return Flow.Next;
            case If branch:
                foreach ((Expression test, IReadOnlyList<Statement> body) in branch.Branches)
                    if (Values.IsTrue(Evaluate(test))) return Run(body);
                return Run(branch.Else);
            case For loop:
                return RunLoop(loop);
            case LoopControl control:
                return control.Break ? Flow.Break : Flow.Continue;
            case Set set:
                Assign(set.Target, Evaluate(set.Value));
                return Flow.Next;
            case SetBlock set:
                _given = Captured(() => InScope(_scope, () => Run(set.Body)));
                Assign(set.Target, Evaluate(set.Value));
                return Flow.Next;
            case FilterBlock filter:
                _given = Captured(() => InScope(_scope, () => Run(filter.Body)));
                Write(Values.Str(Evaluate(filter.Value), _budget));
                return Flow.Next;
            case Macro macro:
                _scope.Set(macro.Id, Define(macro, _scope));
                return Flow.Next;
            case With with:
                return InScope(_scope, () =>
                {
                    foreach ((Expression target, Expression value) in with.Values) Assign(target, Evaluate(value));
                    return Run(with.Body);
                });
            case Generation generation:
                return Run(generation.Body);
            default:
                throw new InvalidOperationException(statement.GetType().Name);
        }
    }

    Flow RunLoop(For loop)
    {
        List<object?> items = Iterate(Evaluate(loop.Source));
        Scope outer = _scope;
        if (loop.Condition is { } condition)
        {
            items = items.FindAll(item =>
            {
                _scope = new Scope(outer);
                Assign(loop.Target, item);
                return Values.IsTrue(Evaluate(condition));
            });
            _scope = outer;
        }
        if (items.Count == 0) return InScope(outer, () => Run(loop.Else));

        Loop state = new(items);
        for (int i = 0; i < items.Count; i++)
        {
            state.Index = i;
            _scope = new Scope(outer);
            _scope.Set("loop", state);
            Assign(loop.Target, items[i]);
            if (Run(loop.Body) == Flow.Break) break;
        }
        _scope = outer;
        return Flow.Next;
    }

    T InScope<T>(Scope parent, Func<T> action)
    {
        Scope outer = _scope;
        _scope = new Scope(parent);
        T result = action();
        _scope = outer;
        return result;
    }

    string Captured(Action action)
    {
        StringBuilder outer = _output;
        _output = new StringBuilder();
        action();
        string text = _output.ToString();
        _output = outer;
        return text;
    }

    void Write(string text)
    {
        _budget.ChargeText((long)_output.Length + text.Length > Budget.TextMax ? (long)_output.Length + text.Length : text.Length);
        _output.Append(text);
    }

    void Assign(Expression target, object? value)
    {
        switch (target)
        {
            case Name name:
                _scope.Set(name.Id, value);
                break;
            case Member { Object: Name name } member:
                if (Lookup(name.Id) is not Namespace ns) throw _budget.Error($"'{name.Id}' is not a namespace, so '{member.Id}' cannot be set");
                ns.Members[member.Id] = value;
                break;
            case ListLiteral names:
                List<object?> items = Iterate(value);
                if (items.Count != names.Items.Count) throw _budget.Error($"cannot unpack {items.Count} values into {names.Items.Count} names");
                for (int i = 0; i < items.Count; i++) Assign(names.Items[i], items[i]);
                break;
        }
    }

    Callable Define(Macro macro, Scope scope) => new(macro.Id, passed =>
    {
        int line = _budget.Line;
        if (_callDepth >= Budget.CallDepthMax) throw _budget.Error($"macros call each other more than {Budget.CallDepthMax} deep");
        if (passed.Positional.Count > macro.Parameters.Count)
            throw _budget.Error($"macro '{macro.Id}' takes {macro.Parameters.Count} arguments but got {passed.Positional.Count}");
        foreach (string name in passed.Named.Keys)
            if (!macro.Parameters.Any(p => p.Name == name)) throw _budget.Error($"macro '{macro.Id}' has no argument '{name}'");

        _callDepth++;
        Scope caller = _scope;
        _scope = new Scope(scope);
        for (int i = 0; i < macro.Parameters.Count; i++)
        {
            (string name, Expression? otherwise) = macro.Parameters[i];
            _scope.Set(name, passed.TryGet(i, name, out object? value) ? value
                : otherwise is null ? new Undefined($"argument '{name}' of macro '{macro.Id}' was not given") : Evaluate(otherwise));
        }
        string text = Captured(() => Run(macro.Body));
        _scope = caller;
        _callDepth--;
        _budget.Line = line;
        return text;
    });
}
