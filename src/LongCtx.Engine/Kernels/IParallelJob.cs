namespace LongCtx.Engine.Kernels;

/// <summary>Work in independent parts; a struct, so that <see cref="WorkerPool.Run"/> neither allocates nor boxes.</summary>
internal interface IParallelJob
{
    /// <param name="part">0 .. parts - 1; every part is executed exactly once.</param>
    /// <param name="worker">0 .. <see cref="WorkerPool.Threads"/> - 1, constant per thread: an index for scratch memory.</param>
    void Execute(int part, int worker);
}
